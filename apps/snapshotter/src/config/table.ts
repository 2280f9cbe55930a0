/**
 * The configuration: every key with type, default, limits and meaning. The TypeScript type, the check, `config default`, `config dump`
 * and the README's tables are all made from this. Section "" holds the keys above the first table. Times end in `_ms`, sizes in `_bytes`.
 */
export const CONFIG_TABLE = {
  "": {
    doc: "Where it keeps its data, and where containerd finds it.",
    keys: {
      root: {
        kind: "path",
        default: "/var/lib/soci-snapshotter",
        doc: "Directory of all data: layers, upper directories, metadata. One daemon per directory.",
        flag: "--root",
      },
      address: {
        kind: "path",
        default: "/run/soci-snapshotter/soci-snapshotter.sock",
        doc: "Unix socket that containerd connects to; made with mode 0600. A socket that systemd passes goes before it.",
        flag: "--address",
      },
      log_level: {
        kind: "choice",
        choices: ["silent", "error", "warn", "info", "debug"],
        default: "info",
        doc: "How much is logged, as JSON lines on stderr.",
        flag: "--log-level",
      },
    },
  },
  mount: {
    doc: "How lazy layers are mounted.",
    keys: {
      door: {
        kind: "choice",
        choices: ["auto", "erofs", "loop", "fuse"],
        default: "auto",
        doc: "How the kernel is given a layer: EROFS from files (Linux 6.12), EROFS on loop devices (6.4), or a FUSE tree. auto tries them in this order.",
      },
      local: {
        kind: "choice",
        choices: ["auto", "off"],
        default: "auto",
        doc: "Whether a layer that is here whole, and whose digest was found right, is mounted for new containers from its file with no FUSE in the way (doors erofs and loop).",
      },
      idle_release_ms: {
        kind: "milliseconds",
        default: 60_000,
        range: [1000, 86_400_000],
        doc: "A layer that no container needs is unmounted after this time.",
      },
      resend: {
        kind: "choice",
        choices: ["auto", "off"],
        default: "auto",
        doc: "Whether the kernel is asked to send requests again to a layer server that takes over (FUSE_NOTIFY_RESEND, Linux 6.9). off works without it, by the journal of requests alone, as on older kernels. Counts for the next FUSE mount: see `drain`.",
      },
      userxattr: {
        kind: "choice",
        choices: ["auto", "on", "off"],
        default: "auto",
        doc: "Whether overlayfs keeps its marks in user.* instead of trusted.* attributes; auto does so inside a user namespace only.",
      },
    },
  },
  index: {
    doc: "Finding the index of an image.",
    keys: {
      lookup_timeout_ms: {
        kind: "milliseconds",
        default: 10_000,
        range: [100, 600_000],
        doc: "How long a pull waits for the image's index before it goes on without one.",
      },
      failure_memory_ms: {
        kind: "milliseconds",
        default: 5_000,
        range: [0, 600_000],
        doc: "How long a failed lookup is remembered, so that the layers of one pull do not each wait for it. 0 remembers none.",
      },
    },
  },
  stream: {
    doc: "Layers with no index: read once, and indexed on the node.",
    keys: {
      max_layers_at_once: {
        kind: "count",
        default: 3,
        range: [1, 64],
        doc: "How many layers of one image are streamed at the same time.",
      },
    },
  },
  read: {
    doc: "Reads of bytes that are not here yet.",
    keys: {
      deadline_ms: {
        kind: "milliseconds",
        default: 60_000,
        range: [1000, 3_600_000],
        doc: "A read that the registry has not answered after this time fails with EIO. The next read tries again.",
      },
    },
  },
  hydrate: {
    doc: "Fetching in the background what is missing of layers that are in use, while nothing waits for the network.",
    keys: {
      mode: {
        kind: "choice",
        choices: ["on", "off"],
        default: "on",
        doc: "Whether layers that something has read are made whole. off: only what is read is fetched.",
      },
      max_bytes_per_second: {
        kind: "bytes",
        default: 20_971_520,
        range: [1024, 1_099_511_627_776],
        doc: "Compressed bytes that are fetched in a second at most; what containers wait for comes on top.",
      },
      idle_ms: {
        kind: "milliseconds",
        default: 5_000,
        range: [0, 3_600_000],
        doc: "Nothing is fetched while a read waits for the network, nor for this time after.",
      },
    },
  },
  cache: {
    doc: "What the bytes of layers may take of the disk. What was not read for longest goes first, and is fetched again when it is read.",
    keys: {
      quota_bytes: {
        kind: "bytes",
        default: 0,
        range: [0, 1_125_899_906_842_624],
        doc: "Disk space of all layers' bytes together. What was read within the last 30 seconds stays, so it may be exceeded for a while. 0 for no quota.",
      },
      min_free_bytes: {
        kind: "bytes",
        default: 2_147_483_648,
        range: [0, 1_125_899_906_842_624],
        doc: "Free space of root's file system below which cached bytes go. 0 leaves it to the quota.",
      },
    },
  },
  registry: {
    doc: "How registries are reached.",
    keys: {
      hosts_directory: {
        kind: "optional_path",
        default: "/etc/containerd/certs.d",
        doc: "containerd's directory of HOST/hosts.toml files: mirrors, CAs, client certificates, headers. Want the same as containerd's config_path; \"\" reads none.",
      },
    },
  },
  credentials: {
    doc: "Where credentials come from, besides the CRI proxy. All are read again when they change; none is ever logged.",
    keys: {
      docker_config_files: {
        kind: "paths",
        default: ["/root/.docker/config.json", "/var/lib/kubelet/config.json"],
        doc: "Docker configuration files, with their credential helpers; the first that knows the registry wins. They need not exist.",
      },
      command: {
        kind: "command",
        default: [],
        doc: 'A program that is asked first, as a docker credential helper is: run with the word "get" added, the registry on stdin, JSON on stdout. [] for none.',
        secret: true,
      },
    },
  },
  cri_proxy: {
    doc: "A CRI image service in front of containerd's: kubelet's credentials pass through it, and are used for lazy reads too.",
    keys: {
      address: {
        kind: "optional_path",
        default: "",
        doc: 'Unix socket for kubelet\'s imageServiceEndpoint; mode 0600. "" turns it off.',
      },
    },
  },
  containerd: {
    doc: "The containerd beside it; used by the CRI proxy and by `repair`.",
    keys: {
      address: {
        kind: "path",
        default: "/run/containerd/containerd.sock",
        doc: "containerd's socket.",
      },
      snapshotter: {
        kind: "name",
        default: "soci",
        doc: "What containerd calls this snapshotter: NAME in its [proxy_plugins.NAME].",
      },
    },
  },
  metrics: {
    doc: "Prometheus metrics and health over HTTP.",
    keys: {
      listen: {
        kind: "optional_listen",
        default: "",
        doc: 'host:port for /metrics, /healthz and /readyz, for example "127.0.0.1:9590". There is no authentication: keep it on loopback. "" turns it off.',
      },
    },
  },
  trust: {
    doc: "Which indexes are trusted, by repository; the first entry that matches counts. Without a match any index that refers to the image is taken.",
    repeated: true,
    keys: {
      repositories: {
        kind: "patterns",
        default: ["*"],
        doc: 'Repositories, with host: "registry.example/team/*". A * stands for any text, slashes included.',
      },
      require: {
        kind: "choice",
        choices: ["any", "bound", "listed"],
        default: "any",
        doc: "any: whatever refers to the image. bound: only an index that the image's own manifest list names (SOCI v2). listed: only those in digests.",
      },
      digests: {
        kind: "digests",
        default: [],
        doc: 'Digests of the indexes that are trusted; for require = "listed".',
      },
    },
  },
} as const;
