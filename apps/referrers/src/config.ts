import { resolve } from "node:path";
import {
  type ConfigFault,
  faultsError,
  parseListen,
  readIfThere,
  readSettings,
  type SettingsOf,
} from "@soci-ts/settings";
import { checkSettings } from "./config/check-settings.ts";
import { CONFIG_TABLE } from "./config/table.ts";

/** Where the configuration is if `--config` says nothing; it need not exist. */
export const DEFAULT_CONFIG_FILE = "/etc/soci-referrers/config.toml";

/** The settings of the file, checked and complete; made from the table of keys. */
export type Settings = SettingsOf<typeof CONFIG_TABLE>;

/** The global options as the command line gives them. */
export interface GlobalFlags {
  readonly root?: string;
  readonly listen?: string;
  readonly insecureListenAny?: boolean;
  readonly readOnly?: boolean;
  readonly config?: string;
  readonly logLevel?: string;
  readonly json?: boolean;
}

/** Everything that the program can be told; made once at the start, and frozen. */
export interface Config extends Settings {
  /** The file that was read; `undefined` if there is none and the defaults hold. */
  readonly configFile: string | undefined;
  /** Host name or address to listen on, an IPv6 address without brackets. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** The process's surroundings, so that tests can give others. */
export interface Surroundings {
  /** A file's text; `undefined` if there is none. */
  readonly readFile: (path: string) => string | undefined;
}

/** What the real process runs in. */
export function processSurroundings(): Surroundings {
  return { readFile: readIfThere };
}

/** The configuration, or all that is wrong with it; `config` is `undefined` exactly if there are faults. */
export interface ReadConfig {
  readonly file: string | undefined;
  readonly config: Config | undefined;
  readonly faults: readonly ConfigFault[];
}

/** Flags over file over defaults. Nothing is thrown for what is wrong: it is reported, all of it. */
export function readConfig(flags: GlobalFlags, surroundings: Surroundings): ReadConfig {
  const source = {
    path: resolve(flags.config ?? DEFAULT_CONFIG_FILE),
    isNamed: flags.config !== undefined,
    readFile: surroundings.readFile,
  };
  const root = flags.root === undefined || flags.root === "" ? flags.root : resolve(flags.root);
  const { file, settings, faults } = readSettings(CONFIG_TABLE, source, {
    overrides: {
      root,
      listen: flags.listen,
      mode: flags.readOnly === true ? "read-only" : undefined,
      log_level: flags.logLevel,
    },
    check: (read, report) => checkSettings(read, flags, report),
  });
  const address = settings && parseListen(settings.listen);
  const config = address && Object.freeze({ ...settings, ...address, configFile: file });
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
