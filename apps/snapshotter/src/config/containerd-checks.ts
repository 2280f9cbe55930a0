import {
  type ContainerdVersion,
  isTomlTable,
  type TomlTable,
  valueAt,
  versionOfConfig,
} from "./containerd-config.ts";
import type { Settings } from "./settings.ts";

/** One line that containerd's configuration lacks. */
export interface MissingLine {
  /** The table it belongs into, as its header is written; "" for the head of the file. */
  readonly table: string;
  /** `key = value`, as it is to stand there. */
  readonly line: string;
  readonly why: string;
}

/** What the check of containerd's configuration found. */
export interface ContainerdFindings {
  readonly version: ContainerdVersion;
  readonly missing: readonly MissingLine[];
  /** Worth knowing, but nothing fails for it. */
  readonly notes: readonly string[];
}

interface Subject {
  readonly config: TomlTable;
  readonly version: ContainerdVersion;
  readonly settings: Settings;
  /** True if the file has the layout of version 3. */
  readonly isNewLayout: boolean;
  /** Name of our proxy plugin there. */
  readonly name: string;
  readonly proxy: unknown;
  /** CRI's settings of images. */
  readonly images: unknown;
  readonly imagesTable: string;
}

/** Holds containerd's (merged) configuration against what this snapshotter needs of that release. */
export function checkContainerdConfig(
  config: TomlTable,
  settings: Settings,
  release?: ContainerdVersion,
): ContainerdFindings {
  const subject = describe(config, settings, release ?? versionOfConfig(config));
  const cri = isCriDisabled(subject)
    ? { missing: [], notes: ["CRI is disabled there: what kubelet needs was not checked"] }
    : { missing: criLines(subject), notes: criNotes(subject) };
  return {
    version: subject.version,
    missing: [
      ...headLines(subject),
      ...proxyLines(subject),
      ...cri.missing,
      ...transferLines(subject),
    ],
    notes: cri.notes,
  };
}

/** The missing lines as TOML, each table once, each line with its reason; ready to be pasted into a file that lacks those tables. */
export function missingText(missing: readonly MissingLine[]): string {
  const tables = [...new Set(missing.map(({ table }) => table))];
  const blocks = tables.map((table) => {
    const lines = missing
      .filter((entry) => entry.table === table)
      .flatMap(({ line, why }) => [`# ${why}`, line]);
    return (table === "" ? lines : [table, ...lines.map((line) => `  ${line}`)]).join("\n");
  });
  return blocks.join("\n\n");
}

function describe(config: TomlTable, settings: Settings, version: ContainerdVersion): Subject {
  const proxies = Object.entries(
    isTomlTable(config["proxy_plugins"]) ? config["proxy_plugins"] : {},
  );
  const ours = proxies.find(([, proxy]) => valueAt(proxy, "address") === settings.address);
  const name = ours?.[0] ?? settings.containerd.snapshotter;
  const layout = Number(config["version"] ?? 1);
  // A file with no version is to get one, and then has the layout of that.
  const isNewLayout = layout >= 3 || (layout < 2 && version.major >= 2);
  const images = isNewLayout
    ? valueAt(config, "plugins", "io.containerd.cri.v1.images")
    : valueAt(config, "plugins", "io.containerd.grpc.v1.cri", "containerd");
  return {
    config,
    version,
    settings,
    isNewLayout,
    name,
    proxy: ours?.[1] ?? valueAt(config, "proxy_plugins", name),
    images,
    imagesTable: isNewLayout
      ? '[plugins."io.containerd.cri.v1.images"]'
      : '[plugins."io.containerd.grpc.v1.cri".containerd]',
  };
}

function headLines({ config, version }: Subject): MissingLine[] {
  if (Number(config["version"] ?? 1) >= 2) return [];
  const layout = version.major >= 2 ? 3 : 2;
  return [
    {
      table: "",
      line: `version = ${layout}`,
      why: "without it the names of the plugins below are not understood",
    },
  ];
}

function proxyLines({ name, proxy, settings, version }: Subject): MissingLine[] {
  const table = `[proxy_plugins.${name}]`;
  const missing: MissingLine[] = [];
  const want = (key: string, value: string, why: string) =>
    missing.push({ table, line: `${key} = ${value}`, why });
  if (valueAt(proxy, "type") !== "snapshot") {
    want("type", '"snapshot"', "what the socket serves");
  }
  if (valueAt(proxy, "address") !== settings.address) {
    want(
      "address",
      JSON.stringify(settings.address),
      "the socket of soci-snapshotter (its key address)",
    );
  }
  if (name !== settings.containerd.snapshotter) {
    missing.push({
      table: "",
      line: `# [proxy_plugins.${name}] is to be called [proxy_plugins.${settings.containerd.snapshotter}]`,
      why: "or set snapshotter in the [containerd] table of soci-snapshotter's own configuration to that name",
    });
  }
  if (isAtLeast(version, 1, 7) && !includes(valueAt(proxy, "capabilities"), "remap-ids")) {
    want(
      "capabilities",
      '["remap-ids"]',
      "without it containerd copies and chowns the whole tree of a container in a user namespace",
    );
  }
  return [...missing, ...exportLines(table, proxy, settings, version)];
}

function exportLines(
  table: string,
  proxy: unknown,
  settings: Settings,
  version: ContainerdVersion,
): MissingLine[] {
  if (!isAtLeast(version, 2, 0)) return [];
  const exported = `${table.slice(0, -1)}.exports]`;
  const missing: MissingLine[] = [];
  if (valueAt(proxy, "exports", "root") !== settings.root) {
    missing.push({
      table: exported,
      line: `root = ${JSON.stringify(settings.root)}`,
      why: "kubelet's disk figures are taken there (soci-snapshotter's key root)",
    });
  }
  const annotations = valueAt(proxy, "exports", "enable_remote_snapshot_annotations");
  if (isAtLeast(version, 2, 1) && annotations !== "true") {
    missing.push({
      table: exported,
      line: 'enable_remote_snapshot_annotations = "true"',
      why: "without it the transfer service passes no labels, and every image is pulled whole; a text, not a boolean",
    });
  }
  return missing;
}

function criLines(subject: Subject): MissingLine[] {
  const { images, imagesTable, name, version } = subject;
  const missing: MissingLine[] = [];
  if (valueAt(images, "snapshotter") !== name) {
    missing.push({
      table: imagesTable,
      line: `snapshotter = ${JSON.stringify(name)}`,
      why: "else CRI goes on with overlayfs",
    });
  }
  const needsAnnotations = !isAtLeast(version, 2, 1) || localPullReason(subject) !== undefined;
  if (needsAnnotations && valueAt(images, "disable_snapshot_annotations") !== false) {
    missing.push({
      table: imagesTable,
      line: "disable_snapshot_annotations = false",
      why: `without it CRI passes no labels, and every image is pulled whole${isAtLeast(version, 2, 1) ? ` (${localPullReason(subject)} keeps CRI from the transfer service)` : ""}`,
    });
  }
  return missing;
}

function criNotes(subject: Subject): string[] {
  const { config, settings, isNewLayout, version } = subject;
  const notes: string[] = [];
  const configPath = isNewLayout
    ? valueAt(config, "plugins", "io.containerd.cri.v1.images", "registry", "config_path")
    : valueAt(config, "plugins", "io.containerd.grpc.v1.cri", "registry", "config_path");
  const directories = typeof configPath === "string" ? configPath.split(":") : [];
  if (
    settings.registry.hostsDirectory !== "" &&
    !directories.includes(settings.registry.hostsDirectory)
  ) {
    notes.push(
      `CRI reads its registry hosts from ${directories.join(" and ") || "nowhere"} (config_path), lazy reads from ${settings.registry.hostsDirectory}: mirrors and CAs can differ`,
    );
  }
  if (
    isAtLeast(version, 2, 1) &&
    valueAt(subject.images, "disable_snapshot_annotations") === false
  ) {
    notes.push(
      "disable_snapshot_annotations = false makes CRI pull by itself instead of through the transfer service: lazy all the same, and a warning in containerd's log",
    );
  }
  return notes;
}

function transferLines({ config, version, name }: Subject): MissingLine[] {
  if (!isAtLeast(version, 2, 1)) return [];
  const entries = valueAt(config, "plugins", "io.containerd.transfer.v1.local", "unpack_config");
  const list: readonly unknown[] = Array.isArray(entries) ? entries : [];
  const hasPlatform = (entry: unknown) => typeof valueAt(entry, "platform") === "string";
  if (list.some((entry) => valueAt(entry, "snapshotter") === name && hasPlatform(entry))) return [];
  const table = '[[plugins."io.containerd.transfer.v1.local".unpack_config]]';
  return [
    {
      table,
      line: 'platform = "linux"',
      why: "without this entry the transfer service refuses to unpack with it",
    },
    { table, line: `snapshotter = ${JSON.stringify(name)}`, why: "one entry for each snapshotter" },
  ];
}

/** Why CRI of 2.1 and later pulls by itself, and not through the transfer service; `undefined` if it does not. */
function localPullReason({ config, images, isNewLayout }: Subject): string | undefined {
  const cri = isNewLayout ? images : valueAt(config, "plugins", "io.containerd.grpc.v1.cri");
  const setting = (key: string) => valueAt(images, key) ?? valueAt(cri, key);
  if (setting("use_local_image_pull") === true) return "use_local_image_pull = true";
  if (setting("discard_unpacked_layers") === true) return "discard_unpacked_layers = true";
  if (setting("image_pull_with_sync_fs") === true) return "image_pull_with_sync_fs = true";
  if (![undefined, 3].includes(setting("max_concurrent_downloads") as number | undefined)) {
    return "max_concurrent_downloads";
  }
  const registry = ["mirrors", "configs", "auths"].find((key) => valueAt(cri, "registry", key));
  return registry === undefined ? undefined : `registry.${registry}`;
}

function isCriDisabled({ config }: Subject): boolean {
  const disabled = config["disabled_plugins"];
  return ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"].some((name) =>
    includes(disabled, name),
  );
}

function includes(list: unknown, item: string): boolean {
  return Array.isArray(list) && list.includes(item);
}

function isAtLeast(version: ContainerdVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}
