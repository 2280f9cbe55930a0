import { dirname, join, normalize } from "node:path";
import { AppError } from "@soci-ts/core";
import { parse } from "smol-toml";

/** A table of a TOML file. */
export type TomlTable = Readonly<Record<string, unknown>>;

/** How files are read; tests give their own. */
export interface ContainerdFiles {
  /** A file's text; `undefined` if there is none. */
  readonly readFile: (path: string) => string | undefined;
  /** The paths that match a pattern with `*`, sorted. */
  readonly glob: (pattern: string) => readonly string[];
}

/** A release of containerd, as far as it matters. */
export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
  /** How it was found out: "containerd --version", or what the configuration file tells. */
  readonly from: string;
}

const MAX_FILES = 100;

/** `containerd github.com/containerd/containerd 1.6.20~ds1 …` → 1.6; `undefined` if the text has no version. */
export function parseContainerdVersion(text: string): ContainerdVersion | undefined {
  const match = /\sv?(\d+)\.(\d+)\.\d/.exec(text);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), from: "containerd --version" };
}

/** What can be told from the file alone: `version = 3` came with 2.0; older ones are taken for 1.7. */
export function versionOfConfig(config: TomlTable): ContainerdVersion {
  const layout = Number(config["version"] ?? 1);
  const from = `version = ${layout} in its configuration`;
  return layout >= 3 ? { major: 2, minor: 1, from } : { major: 1, minor: 7, from };
}

/**
 * containerd's configuration with its imports: breadth first, each file over those before it. Up to 1.7 an imported `[plugins.X]` replaces
 * all of X, and a proxy plugin always does so; from 2.0 on plugins are merged key by key (both as tried, and read in its sources).
 * @param version - decides how plugins are merged; without it, the file itself does.
 * @throws AppError `not_found` if a file is missing, `invalid_argument` if one is no TOML.
 */
export function readContainerdConfig(
  path: string,
  files: ContainerdFiles,
  version?: ContainerdVersion,
): TomlTable {
  let merged: TomlTable = {};
  const pending = [path];
  const seen = new Set<string>();
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    if (seen.has(next)) continue;
    if (seen.size >= MAX_FILES) {
      throw new AppError("invalid_argument", `Cannot read "${path}": over ${MAX_FILES} imports`);
    }
    const config = readOne(next, files);
    const { major } = version ?? versionOfConfig(seen.size === 0 ? config : merged);
    merged = seen.size === 0 ? config : mergeConfig(merged, config, major >= 2);
    seen.add(next);
    pending.push(...importsOf(next, config, files));
  }
  return merged;
}

/** The value at a path of keys; `undefined` if a key on the way is absent. */
export function valueAt(table: unknown, ...path: readonly string[]): unknown {
  let value = table;
  for (const key of path) {
    if (!isTomlTable(value)) return undefined;
    value = Object.hasOwn(value, key) ? value[key] : undefined;
  }
  return value;
}

/** True for a table, false for a list or a plain value. */
export function isTomlTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readOne(path: string, files: ContainerdFiles): TomlTable {
  const text = files.readFile(path);
  if (text === undefined) {
    throw new AppError("not_found", `Cannot read containerd's "${path}": it does not exist`);
  }
  try {
    return parse(text, { unsafeKeyBehaviour: "throw" });
  } catch (error) {
    throw brokenFile(path, error);
  }
}

function brokenFile(path: string, cause: unknown): AppError {
  const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
  return new AppError("invalid_argument", `Cannot read containerd's "${path}": ${reason}`, {
    cause,
  });
}

function importsOf(parent: string, config: TomlTable, files: ContainerdFiles): readonly string[] {
  const imports = config["imports"];
  if (!Array.isArray(imports)) return [];
  return imports
    .filter((item): item is string => typeof item === "string")
    .map((item) => (item.startsWith("/") ? normalize(item) : join(dirname(parent), item)))
    .flatMap((item) => (item.includes("*") ? files.glob(item) : [item]));
}

function mergeConfig(to: TomlTable, from: TomlTable, deepPlugins: boolean): TomlTable {
  const plugins = deepPlugins
    ? mergeTables(table(to, "plugins"), table(from, "plugins"))
    : { ...table(to, "plugins"), ...table(from, "plugins") };
  const proxies = { ...table(to, "proxy_plugins"), ...table(from, "proxy_plugins") };
  const { version } = to;
  return {
    ...mergeTables(to, from),
    ...(version === undefined ? {} : { version }),
    plugins,
    proxy_plugins: proxies,
  };
}

/** Tables key by key, lists one after the other, all else replaced. */
function mergeTables(to: TomlTable, from: TomlTable): TomlTable {
  const merged: Record<string, unknown> = { ...to };
  for (const [key, value] of Object.entries(from)) {
    const old = merged[key];
    if (isTomlTable(old) && isTomlTable(value)) merged[key] = mergeTables(old, value);
    else if (Array.isArray(old) && Array.isArray(value)) merged[key] = [...old, ...value];
    else merged[key] = value;
  }
  return merged;
}

function table(config: TomlTable, name: string): TomlTable {
  const value = config[name];
  return isTomlTable(value) ? value : {};
}
