import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Logger, SingleFlight, silentLogger } from "@soci-ts/core";
import { ALL_CAPABILITIES, type HostsConfig, type HostsSource } from "./hosts.ts";
import { parseHostsToml } from "./hosts-toml.ts";
import { HOSTS_FILE_LIMIT_BYTES } from "./limits.ts";
import { checkPairs } from "./trust.ts";

/** Where hosts.toml files are. */
export interface CertsDirOptions {
  /** As in containerd's `registry.config_path`, which it splits at colons; the first that has a folder for a registry decides. */
  readonly directories: readonly string[];
  readonly logger?: Logger | undefined;
}

/** What was read of one registry's folder. */
interface Reading {
  readonly config: HostsConfig;
  /** The folder and all files that the reading depends on, and what they looked like before they were read. */
  readonly files: readonly string[];
  readonly fingerprint: string;
}

/**
 * Hosts from folders like containerd's `/etc/containerd/certs.d`: for `host:port` from `host_port_/`, `host:port/` or
 * `_default/`, the first that exists. In it `hosts.toml` or, without one, Docker's `*.crt`, `*.cert` and `*.key` for the
 * registry's own server. Looked at before each use, so that a change counts at once; a file that becomes
 * wrong is logged, and what it said before stays in force.
 */
export function certsDirHosts(options: CertsDirOptions): HostsSource {
  return new CertsDir(options);
}

class CertsDir implements HostsSource {
  readonly #directories: readonly string[];
  readonly #logger: Logger;
  readonly #readings = new Map<string, Reading>();
  readonly #looks = new SingleFlight<HostsConfig | undefined>();
  /** The fault that was logged last, by folder. */
  readonly #faults = new Map<string, string>();
  #count = 0;

  constructor(options: CertsDirOptions) {
    this.#directories = options.directories;
    this.#logger = options.logger ?? silentLogger;
  }

  hostsFor(registry: string): Promise<HostsConfig | undefined> {
    return this.#looks.do(registry, () => this.#look(registry));
  }

  async #look(registry: string): Promise<HostsConfig | undefined> {
    const folder = await findFolder(this.#directories, registry);
    if (folder === undefined) return undefined;
    const known = this.#readings.get(folder);
    if (known !== undefined && (await fingerprintOf(known.files)) === known.fingerprint) {
      return known.config;
    }
    try {
      const reading = await this.#read(folder);
      this.#readings.set(folder, reading);
      this.#faults.delete(folder);
      return reading.config;
    } catch (error) {
      if (known === undefined) throw error;
      this.#noteFault(folder, AppError.from(error).message);
      return known.config;
    }
  }

  #noteFault(folder: string, why: string): void {
    if (this.#faults.get(folder) === why) return;
    this.#faults.set(folder, why);
    this.#logger.error("registry hosts are not read anew: what was said before stays", {
      folder,
      why,
    });
  }

  async #read(folder: string): Promise<Reading> {
    const file = join(folder, "hosts.toml");
    const before = await fingerprintOf([folder, file]);
    this.#count += 1;
    const id = `${folder} ${this.#count}`;
    const text = await readHostsFile(file);
    const config = text.trim() === "" ? await dockerStyle(folder, id) : this.#parse(text, file, id);
    const more = config.hosts.flatMap(({ connection }) => [
      ...(connection?.caFiles ?? []),
      ...(connection?.clientPairs ?? []).flatMap((pair) => [pair.certFile, pair.keyFile]),
    ]);
    const fingerprint = [before, await fingerprintOf(more)].filter((part) => part !== "");
    return { config, files: [folder, file, ...more], fingerprint: fingerprint.join("\n") };
  }

  #parse(text: string, file: string, id: string): HostsConfig {
    const { hosts, unknownKeys } = parseHostsToml(text, file, id);
    if (unknownKeys.length > 0) {
      const keys = unknownKeys.slice(0, 16).join(", ");
      this.#logger.warn("keys that are not known are passed over", { file, keys });
    }
    for (const { url, connection } of hosts) {
      if (connection?.skipVerify !== true) continue;
      const host = url?.origin ?? "server";
      this.#logger.warn("certificates are not checked (skip_verify)", { file, host });
    }
    return { hosts, source: file };
  }
}

/** The folder of a registry; `host_port_` is for file systems that have no colons, and comes first as in containerd. */
async function findFolder(
  directories: readonly string[],
  registry: string,
): Promise<string | undefined> {
  // The name is part of a path: it must not lead out of the folder.
  if (registry.startsWith(".") || /[/\0]/.test(registry)) return undefined;
  const plain = registry.replace(/^(.+):([^:]*)$/, "$1_$2_");
  for (const directory of directories) {
    for (const name of new Set([plain, registry, "_default"])) {
      const folder = join(directory, name);
      if ((await lookOf(folder)) !== "-") return folder;
    }
  }
  return undefined;
}

async function readHostsFile(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > HOSTS_FILE_LIMIT_BYTES) {
      throw new AppError(
        "failed_precondition",
        `Cannot use ${file}: it has ${size} bytes, want at most ${HOSTS_FILE_LIMIT_BYTES}`,
      );
    }
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw AppError.from(error);
  }
}

/** The registry's own server, with the certificates that lie in the folder. */
async function dockerStyle(folder: string, id: string): Promise<HostsConfig> {
  const names = (await readdir(folder)).sort();
  checkPairs(folder, names);
  const ending = (suffix: string): string[] => names.filter((name) => name.endsWith(suffix));
  const caFiles = ending(".crt").map((name) => join(folder, name));
  const clientPairs = ending(".cert").map((name) => ({
    certFile: join(folder, name),
    keyFile: join(folder, `${name.slice(0, -".cert".length)}.key`),
  }));
  const isPlain = caFiles.length + clientPairs.length === 0;
  const connection = isPlain ? undefined : { id, caFiles, clientPairs, skipVerify: false };
  const server = { url: undefined, capabilities: ALL_CAPABILITIES, headers: {}, connection };
  return { hosts: [server], source: folder };
}

async function fingerprintOf(paths: readonly string[]): Promise<string> {
  return (await Promise.all(paths.map(lookOf))).join("\n");
}

/** What a file looks like from outside; `-` if it is not there. */
async function lookOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs, ctimeMs } = await stat(path);
    return [ino, size, mtimeMs, ctimeMs].join(" ");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return "-";
    throw AppError.from(error);
  }
}
