/** What a host may be asked for: content by its digest, what a tag or a list of referrers names now, uploads. */
export type HostCapability = "pull" | "resolve" | "push";

/** A client certificate and its key, in PEM; both may be in one file. */
export interface ClientPair {
  readonly certFile: string;
  readonly keyFile: string;
}

/** How connections to one host differ from others. */
export interface HostConnection {
  /** Names these settings; whatever changes them or their files gives another one. */
  readonly id: string;
  /** CAs that are trusted beside the common ones. */
  readonly caFiles: readonly string[];
  readonly clientPairs: readonly ClientPair[];
  /** True: any certificate is taken. */
  readonly skipVerify: boolean;
  /** In milliseconds; default: the client's. */
  readonly connectTimeoutMs?: number | undefined;
}

/** One host that speaks for a registry: a mirror, or its server. */
export interface HostConfig {
  /** Undefined: the registry's own server, found as without any configuration. */
  readonly url: HostUrl | undefined;
  readonly capabilities: ReadonlySet<HostCapability>;
  /** Sent to this host only; names in lower case. They may hold secrets. */
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined: as with any other host. */
  readonly connection: HostConnection | undefined;
}

/** Where a host's API is. */
export interface HostUrl {
  /** `https://mirror.example:5000`. */
  readonly origin: string;
  /** What stands before `/REPOSITORY/manifests/…`: usually `/v2`, with `override_path` anything, "" too. */
  readonly path: string;
}

/** The hosts of one registry, in the order in which they are asked; the last one is its server. */
export interface HostsConfig {
  readonly hosts: readonly HostConfig[];
  /** Where that is written, for errors. */
  readonly source: string;
}

/** Says which hosts speak for a registry. */
export interface HostsSource {
  /**
   * The hosts of a registry (`docker.io`, `localhost:5000`); undefined if nothing is said about it. Asked before each
   * operation; the same object as long as nothing has changed.
   * @throws AppError `failed_precondition` that names the file and all its faults.
   */
  hostsFor(registry: string): Promise<HostsConfig | undefined>;
}

/** All that a host can do: the default. */
export const ALL_CAPABILITIES: ReadonlySet<HostCapability> = new Set(["pull", "resolve", "push"]);
