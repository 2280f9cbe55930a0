import type { Logger, Metrics } from "@soci-ts/core";
import type { CredentialSource } from "@soci-ts/registry-client";

/** A registry that the companion stands in front of. */
export interface UpstreamOptions {
  /** As in references and in containerd's `ns` parameter: `docker.io`, `registry.example:5000`. */
  readonly name: string;
  /** Its scheme, host and port. */
  readonly url: URL;
  /**
   * With a source (also one that knows none: then anonymously) the companion logs in by itself, and whoever reaches it may read
   * what that login may. Without one the client's Authorization goes to the upstream, which decides.
   */
  readonly credentials?: CredentialSource | undefined;
  /** Other hosts (`host[:port]`) that it may lead to although their addresses are not public: storage, token server. */
  readonly trustedHosts?: readonly string[] | undefined;
  /** One more CA bundle, in PEM. */
  readonly caFile?: string | undefined;
}

/** How the companion behaves. */
export interface CompanionOptions {
  /** The first is meant where a request names none; no request reaches any other host. */
  readonly upstreams: readonly UpstreamOptions[];
  /** Most bytes of the disk that cached content takes. */
  readonly cacheBytes: number;
  /** How long an upstream that does not answer delays an answer which could be given without it, in milliseconds; default 3 000. */
  readonly patienceMs?: number | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}
