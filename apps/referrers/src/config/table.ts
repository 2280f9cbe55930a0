/**
 * The configuration: every key with type, default, limits and meaning. The TypeScript type, the check, `config default`, `config dump`
 * and the README's tables are all made from this. Section "" holds the keys above the first table. Times end in `_ms`, sizes in `_bytes`.
 */
export const CONFIG_TABLE = {
  "": {
    doc: "Where it keeps its data, and where it listens.",
    keys: {
      root: {
        kind: "path",
        default: "/var/lib/soci-referrers",
        doc: "Directory of all data; made if absent. One process per directory.",
        flag: "--root",
      },
      listen: {
        kind: "listen",
        default: "127.0.0.1:5000",
        doc: "Address to listen on. Port 0 lets the system choose; an IPv6 address stands in brackets.",
        flag: "--listen",
      },
      mode: {
        kind: "choice",
        choices: ["read-write", "read-only"],
        default: "read-write",
        doc: "read-only: pushes and deletes are refused, nothing is written, the root need not be writable and may be open elsewhere.",
        flag: "--read-only",
      },
      log_level: {
        kind: "choice",
        choices: ["silent", "fatal", "error", "warn", "info", "debug", "trace"],
        default: "info",
        doc: "How much is logged, as JSON lines on stderr; one line for each request at info.",
        flag: "--log-level",
      },
      references: {
        kind: "choice",
        choices: ["checked", "unchecked"],
        default: "checked",
        doc: 'Whether what a pushed manifest refers to must be in its repository. "unchecked" also takes sparse images and indexes, as when one platform is mirrored, and answers with a warning.',
      },
    },
  },
  gc: {
    doc: "When what nothing needs any more is removed. 0 for a time to keep: for ever.",
    keys: {
      interval_ms: {
        kind: "milliseconds",
        default: 3_600_000,
        range: [0, 2_147_483_647],
        doc: "Time between two garbage collections. 0: only at SIGUSR2.",
      },
      grace_ms: {
        kind: "milliseconds",
        default: 86_400_000,
        range: [600_000, 31_536_000_000],
        doc: "How long a blob that no manifest refers to is kept after its push, mount or HEAD, or after the manifest went; longer than any push takes.",
      },
      untagged_keep_ms: {
        kind: "milliseconds",
        default: 0,
        range: [0, 315_360_000_000],
        doc: "How long a manifest is kept after it lost its last tag, index and subject; by default for ever, since it can be pulled by its digest.",
      },
      orphan_keep_ms: {
        kind: "milliseconds",
        default: 2_592_000_000,
        range: [0, 315_360_000_000],
        doc: "How long a referrer (SOCI index, signature, SBOM) is kept after its subject was removed here; those whose subject never was here stay.",
      },
    },
  },
  tls: {
    doc: "TLS. Both files are read again when they change and on SIGHUP; what does not fit together is logged, and the old pair stays.",
    keys: {
      certificate_file: {
        kind: "optional_path",
        default: "",
        doc: 'Certificate and those that lead to the CA, PEM; "" speaks plain HTTP.',
      },
      key_file: { kind: "optional_path", default: "", doc: "The certificate's private key, PEM." },
    },
  },
  proxy: {
    doc: "A reverse proxy in front of it.",
    keys: {
      trusted: {
        kind: "networks",
        default: [],
        doc: "Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. The proxy has to pass Host on, or public_url has to be set.",
      },
      public_url: {
        kind: "optional_url",
        default: "",
        doc: 'URL by which clients reach it, for example "https://registry.example"; it is only needed for the address of the token server. "" takes it from each request.',
      },
    },
  },
  access: {
    doc: "Who may come in. With neither htpasswd_file nor [issuer] nor [[rules]] everybody may do everything, and only the loopback can be listened on.",
    keys: {
      htpasswd_file: {
        kind: "optional_path",
        default: "",
        doc: "Users and their passwords, as `htpasswd -B` writes them (bcrypt); read again when it changes.",
      },
      service: {
        kind: "name",
        default: "soci-referrers",
        doc: "Name of the service in challenges and tokens.",
      },
      token_lifetime_ms: {
        kind: "milliseconds",
        default: 300_000,
        range: [60_000, 3_600_000],
        doc: "How long a token counts. A user who is removed is refused at once; so is what the rules no longer allow after a restart.",
      },
      failed_logins_per_minute: {
        kind: "count",
        default: 30,
        range: [1, 10_000],
        doc: "Wrong passwords that one address may send; then it gets 429 for a while.",
      },
    },
  },
  issuer: {
    doc: "A token server elsewhere that issues all tokens, in place of /token here. What its tokens say is allowed; [[rules]] then are for requests without a token.",
    keys: {
      realm: {
        kind: "optional_url",
        default: "",
        doc: 'Its URL, to which clients are sent; "" for none.',
      },
      name: { kind: "optional_word", default: "", doc: "What its tokens have as iss." },
      keys_file: {
        kind: "optional_path",
        default: "",
        doc: "Its public keys: a JWK set, or keys and certificates in PEM; read again when it changes.",
      },
    },
  },
  groups: {
    doc: "Users who share rules: @NAME in the users of a rule.",
    repeated: true,
    keys: {
      name: { kind: "name", default: "group", doc: "Its name." },
      users: { kind: "words", default: [], doc: "Names of its users." },
    },
  },
  rules: {
    doc: "Who may do what. Rules only add: what no rule allows is refused. Without any, whoever is logged in may do everything.",
    repeated: true,
    keys: {
      repositories: {
        kind: "patterns",
        default: ["*"],
        doc: 'Repositories: "team/*". A * stands for any text, slashes included.',
      },
      users: {
        kind: "words",
        default: ["*"],
        doc: "Names of users, @GROUP, * for whoever is logged in, or anonymous for whoever asks.",
      },
      allow: {
        kind: "choices",
        choices: ["pull", "push", "delete"],
        default: ["pull"],
        doc: "What they may do. pull also lists tags and referrers; push does not pull. Mounting a blob needs pull where it comes from.",
      },
    },
  },
  limits: {
    doc: "How often requests may come. Who comes too often gets 429 and when to come back. After a pause ten seconds' worth may come at once.",
    keys: {
      client_requests_per_second: {
        kind: "count",
        default: 0,
        range: [0, 1_000_000],
        doc: "Of one address, of a /64 with IPv6. 0 for no limit.",
      },
      user_requests_per_second: {
        kind: "count",
        default: 0,
        range: [0, 1_000_000],
        doc: "Of one user. 0 for no limit.",
      },
    },
  },
  quotas: {
    doc: "How much repositories may hold. The first entry that matches counts; without a match there is no quota.",
    repeated: true,
    keys: {
      repositories: {
        kind: "patterns",
        default: ["*"],
        doc: "Repositories, as in [[rules]]; each of them may hold so much.",
      },
      max_bytes: {
        kind: "bytes",
        default: 107_374_182_400,
        range: [0, 1_125_899_906_842_624],
        doc: "Blobs, manifests and open uploads together. A push that does not fit is refused with 413, and what it sent is dropped.",
      },
    },
  },
  audit: {
    doc: "A log of who did what: one JSON document per line, appended. Opened anew on SIGHUP, so that it can be moved away first.",
    keys: {
      file: {
        kind: "optional_path",
        default: "",
        doc: 'The file, made with mode 0600; "" writes none.',
      },
      events: {
        kind: "choice",
        choices: ["writes", "all"],
        default: "writes",
        doc: "writes: logins, pushes, deletes and refusals. all: pulls too.",
      },
    },
  },
  upstreams: {
    doc: "Registries that it stands in front of. With any, all requests are for these: the first, or the one that the parameter ns names, as containerd's do with a mirror. What they cannot hold is kept here.",
    repeated: true,
    keys: {
      name: {
        kind: "optional_word",
        default: "",
        doc: 'Its name as in references: "docker.io", "registry.example:5000".',
      },
      url: {
        kind: "optional_url",
        default: "",
        doc: 'Where it is, without a path; "" takes https and the name.',
      },
      login: {
        kind: "choice",
        choices: ["client", "companion"],
        default: "client",
        doc: "client: clients' logins go to the upstream, which decides what each may do. companion: it logs in by itself, and [access] decides; with [access] it has to be this.",
      },
      docker_config_files: {
        kind: "paths",
        default: [],
        doc: "Docker configuration files with its login, for login = companion; the first that knows the upstream counts. Without any it asks anonymously.",
      },
      trusted_hosts: {
        kind: "words",
        default: [],
        doc: 'Hosts ("10.0.0.5", "storage.internal:9000") that the upstream may lead to, for content or tokens, although their addresses are not public. No others in the own network are ever asked.',
      },
      ca_file: {
        kind: "optional_path",
        default: "",
        doc: "CAs that are trusted beside the system's, PEM.",
      },
    },
  },
  cache: {
    doc: "What was read from upstreams. What was used longest ago goes first, never what is being sent; what was pushed here is not in it.",
    keys: {
      quota_bytes: {
        kind: "bytes",
        default: 53_687_091_200,
        range: [0, 1_125_899_906_842_624],
        doc: "Disk space that it takes at most. What is larger than all of it passes by.",
      },
    },
  },
} as const;
