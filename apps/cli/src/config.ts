import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { AppError } from "@soci-ts/core/errors";
import type { Credential } from "@soci-ts/registry-client";

/** How much is logged, least first. */
export const LOG_LEVELS = ["silent", "error", "warn", "info", "debug"] as const;
/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Where containerd listens unless it is told otherwise. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

/** The global options as the command line gives them. */
export interface GlobalFlags {
  readonly root?: string;
  readonly json?: boolean;
  readonly plainHttp?: boolean;
  readonly caFile?: string;
  readonly logLevel?: string;
  readonly debug?: boolean;
  readonly timeout?: number;
  readonly address?: string;
  readonly namespace?: string;
  readonly contentStore?: string;
  /** Of `soci push`. */
  readonly user?: string;
  /** Of `soci push`; directories with commas between. */
  readonly hostsDir?: string;
}

/** Everything that comes from flags, environment and well-known places; made once at the start. */
export interface Config {
  /** The local store's directory. Default: `/var/lib/soci-ts` for root, `$XDG_DATA_HOME/soci-ts` for others. */
  readonly root: string;
  readonly json: boolean;
  /** `auto`: plain HTTP for loopback registries only. */
  readonly plainHttp: true | "auto";
  readonly caFile: string | undefined;
  readonly logLevel: LogLevel;
  /** How long a command may take; no limit if undefined. */
  readonly timeoutMs: number | undefined;
  readonly containerd: {
    /** Path of its socket. */
    readonly address: string;
    readonly namespace: string;
    /** True if an option that only concerns containerd was given: a reference then means an image that containerd has. */
    readonly isChosen: boolean;
  };
  /** What to log in with instead of what the credential files hold. */
  readonly login: Credential | undefined;
  /** Folders of `hosts.toml` files, the first that has one for a registry decides. */
  readonly hostsDirectories: readonly string[];
  /** Credential files, in the order in which they are asked; they need not exist. */
  readonly credentialFiles: readonly string[];
  /** CA bundles, of which the first that exists is used instead of the system's. */
  readonly systemCaFiles: readonly string[] | undefined;
  /** Docker's directory of CAs and client certificates by registry. */
  readonly certsDirectory: string;
  readonly proxy: {
    readonly httpsProxy: string | undefined;
    readonly httpProxy: string | undefined;
    readonly noProxy: string | undefined;
  };
  /** The whole environment, for a child that runs this program again (credential helpers have variables of their own). */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  /** True if progress bars can be drawn on stderr. */
  readonly drawsBars: boolean;
}

/** The process's surroundings, so that tests can give others. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly userId: number;
  readonly home: string;
  readonly isTerminal: boolean;
}

/** What the real process runs in. */
export function processSurroundings(): Surroundings {
  return {
    env: process.env,
    userId: process.getuid?.() ?? -1,
    home: homedir(),
    isTerminal: process.stderr.isTTY === true,
  };
}

/**
 * Flags over environment over defaults.
 * @throws AppError `invalid_argument` that lists every fault found.
 */
export function loadConfig(flags: GlobalFlags, surroundings: Surroundings): Config {
  const { env, userId, home } = surroundings;
  const faults: string[] = [];
  const isRoot = userId === 0;
  const caFile = flags.caFile === undefined ? undefined : resolve(flags.caFile);
  if (caFile !== undefined && !isReadable(caFile)) faults.push(`--ca-file ${caFile} can't be read`);
  if (flags.root === "") faults.push("--root is empty, want a directory");
  const logLevel = flags.debug === true ? "debug" : (flags.logLevel ?? "warn");
  if (!isLogLevel(logLevel)) {
    faults.push(`--log-level is ${JSON.stringify(logLevel)}, want one of ${LOG_LEVELS.join(", ")}`);
  }
  if (faults.length > 0 || !isLogLevel(logLevel)) {
    throw new AppError("invalid_argument", `Cannot use the options: ${faults.join("; ")}`);
  }
  const dataHome = set(env["XDG_DATA_HOME"]) ?? join(home, ".local", "share");
  const defaultRoot = isRoot ? "/var/lib/soci-ts" : join(dataHome, "soci-ts");
  const certFile = set(env["SSL_CERT_FILE"]);
  return Object.freeze({
    root: resolve(flags.root ?? defaultRoot),
    json: flags.json === true,
    plainHttp: flags.plainHttp === true ? true : "auto",
    caFile,
    logLevel,
    timeoutMs: flags.timeout === 0 ? undefined : flags.timeout,
    containerd: containerdConfig(flags, env),
    login: loginOf(flags.user),
    hostsDirectories: (flags.hostsDir ?? "").split(",").filter((directory) => directory !== ""),
    credentialFiles: credentialFiles(surroundings),
    systemCaFiles: certFile === undefined ? undefined : [certFile],
    certsDirectory: "/etc/docker/certs.d",
    proxy: {
      httpsProxy: set(env["HTTPS_PROXY"]) ?? set(env["https_proxy"]),
      // Upper case is not read for plain HTTP by curl, since a CGI server sets it from a header; this is no CGI program.
      httpProxy: set(env["HTTP_PROXY"]) ?? set(env["http_proxy"]),
      noProxy: set(env["NO_PROXY"]) ?? set(env["no_proxy"]),
    },
    environment: env,
    isRoot,
    drawsBars: surroundings.isTerminal && env["TERM"] !== "dumb" && set(env["CI"]) === undefined,
  });
}

function containerdConfig(flags: GlobalFlags, env: Surroundings["env"]): Config["containerd"] {
  const address = flags.address ?? set(env["CONTAINERD_ADDRESS"]) ?? CONTAINERD_SOCKET;
  return {
    address: address.replace(/^unix:\/\//, ""),
    namespace: flags.namespace ?? set(env["CONTAINERD_NAMESPACE"]) ?? "default",
    isChosen: [flags.address, flags.namespace, flags.contentStore].some(
      (flag) => flag !== undefined,
    ),
  };
}

/** `USER[:PASSWORD]`, as the option gives it. */
function loginOf(user: string | undefined): Credential | undefined {
  if (user === undefined) return undefined;
  const colon = user.indexOf(":");
  const [username, password] =
    colon < 0 ? [user, ""] : [user.slice(0, colon), user.slice(colon + 1)];
  return { kind: "basic", username, password };
}

/** The name of the shell variable is in each line; the first file that knows the registry wins. */
function credentialFiles({ env, home }: Surroundings): readonly string[] {
  const dockerDirectory = set(env["DOCKER_CONFIG"]) ?? join(home, ".docker");
  const configHome = set(env["XDG_CONFIG_HOME"]) ?? join(home, ".config");
  const runtime = set(env["XDG_RUNTIME_DIR"]);
  return [
    set(env["REGISTRY_AUTH_FILE"]),
    join(dockerDirectory, "config.json"),
    runtime === undefined ? undefined : join(runtime, "containers", "auth.json"),
    join(configHome, "containers", "auth.json"),
  ].filter((file) => file !== undefined);
}

function set(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function isLogLevel(text: string): text is LogLevel {
  return (LOG_LEVELS as readonly string[]).includes(text);
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    // Which of the reasons it is does not matter to the message.
    return false;
  }
}
