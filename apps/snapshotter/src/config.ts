import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type ConfigFault, faultsError, readIfThere, readSettings } from "@soci-ts/settings";
import { checkTrust, type Settings } from "./config/settings.ts";
import { CONFIG_TABLE } from "./config/table.ts";

/** Where the configuration is if `--config` says nothing; it need not exist. */
export const DEFAULT_CONFIG_FILE = "/etc/soci-snapshotter/config.toml";

/** The global options as the command line gives them. */
export interface GlobalFlags {
  readonly root?: string;
  readonly address?: string;
  readonly config?: string;
  readonly logLevel?: string;
  readonly json?: boolean;
}

/** Everything that comes from flags, environment and the configuration file; made once at the start, and frozen. */
export interface Config extends Settings {
  /** The file that was read; `undefined` if there is none and the defaults hold. */
  readonly configFile: string | undefined;
  readonly json: boolean;
  readonly proxy: {
    readonly httpsProxy: string | undefined;
    readonly httpProxy: string | undefined;
    readonly noProxy: string | undefined;
  };
  /** CA bundles that are used instead of the system's. */
  readonly systemCaFiles: readonly string[] | undefined;
  /** What systemd hands over: `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`. */
  readonly activation: {
    readonly listenPid: string | undefined;
    readonly listenFds: string | undefined;
    readonly listenFdNames: string | undefined;
  };
  /** The whole environment, for the children of the daemon (credential helpers have variables of their own). */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The process's surroundings, so that tests can give others. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A file's text; `undefined` if there is none. */
  readonly readFile: (path: string) => string | undefined;
}

/** What the real process runs in. */
export function processSurroundings(): Surroundings {
  return { env: process.env, readFile: readIfThere };
}

/** The configuration, or all that is wrong with it; `config` is `undefined` exactly if there are faults. */
export interface ReadConfig {
  readonly file: string | undefined;
  readonly config: Config | undefined;
  readonly faults: readonly ConfigFault[];
}

/** Flags over file over defaults. Nothing is thrown for what is wrong: it is reported, all of it. */
export function readConfig(flags: GlobalFlags, surroundings: Surroundings): ReadConfig {
  const overrides = {
    root: flags.root === undefined || flags.root === "" ? flags.root : resolve(flags.root),
    address:
      flags.address === undefined || flags.address === "" ? flags.address : resolve(flags.address),
    log_level: flags.logLevel,
  };
  const source = {
    path: resolve(flags.config ?? DEFAULT_CONFIG_FILE),
    isNamed: flags.config !== undefined,
    readFile: surroundings.readFile,
  };
  const { file, settings, faults } = readSettings(CONFIG_TABLE, source, {
    overrides,
    check: checkTrust,
  });
  const config =
    settings === undefined
      ? undefined
      : Object.freeze({
          ...settings,
          root: withoutLinks(settings.root),
          configFile: file,
          json: flags.json === true,
          ...fromEnvironment(surroundings.env),
        });
  return { file, config, faults };
}

/**
 * The configuration to run with.
 * @throws AppError `invalid_argument` that lists every fault found.
 */
export function loadConfig(flags: GlobalFlags, surroundings: Surroundings): Config {
  const { file, config, faults } = readConfig(flags, surroundings);
  if (config !== undefined) return config;
  throw faultsError(faults, file);
}

function fromEnvironment(
  env: Surroundings["env"],
): Pick<Config, "proxy" | "systemCaFiles" | "activation" | "environment"> {
  const certFile = set(env["SSL_CERT_FILE"]);
  return {
    proxy: {
      httpsProxy: set(env["HTTPS_PROXY"]) ?? set(env["https_proxy"]),
      httpProxy: set(env["HTTP_PROXY"]) ?? set(env["http_proxy"]),
      noProxy: set(env["NO_PROXY"]) ?? set(env["no_proxy"]),
    },
    systemCaFiles: certFile === undefined ? undefined : [certFile],
    activation: {
      listenPid: set(env["LISTEN_PID"]),
      listenFds: set(env["LISTEN_FDS"]),
      listenFdNames: set(env["LISTEN_FDNAMES"]),
    },
    environment: env,
  };
}

function set(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

/** As mount tables name it: symbolic links followed as far as the path is there. */
function withoutLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const above = dirname(path); // it is not there yet, or says so when it is used
    return above === path ? path : join(withoutLinks(above), basename(path));
  }
}
