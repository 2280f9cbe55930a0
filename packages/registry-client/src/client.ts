import {
  type Digest,
  type IoOptions,
  type Logger,
  type Metrics,
  silentLogger,
  silentMetrics,
} from "@soci-ts/core";
import type { Descriptor, RepositoryName } from "@soci-ts/oci";
import { blobExists, fetchBlob } from "./blobs.ts";
import { type CredentialSource, noCredentials } from "./credentials.ts";
import type { HostsSource } from "./hosts.ts";
import {
  type FetchedManifest,
  fetchManifest,
  headManifest,
  type ManifestName,
  type PushedManifest,
  pushManifest,
  shownManifest,
} from "./manifests.ts";
import type { ProxySettings } from "./proxy.ts";
import { type BlobContent, type PushBlobOptions, type PushedBlob, pushBlob } from "./push-blob.ts";
import { Redactor } from "./redact.ts";
import { type ListReferrersOptions, listReferrers, pushReferrer } from "./referrers.ts";
import { DEFAULT_SETTLE_MS, ReferrersTags } from "./referrers-tag.ts";
import { type Question, Registry, type RegistryDeps } from "./registry.ts";
import type { RegistryHost } from "./registry-host.ts";
import { RegistryBlob, type RemoteBlob } from "./remote-blob.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.ts";
import type { PlainHttp } from "./scheme.ts";
import { listTags } from "./tags.ts";
import { DEFAULT_TIMEOUTS, type Timeouts, Transport } from "./transport.ts";
import type { TrustOptions } from "./trust.ts";

/** How a client behaves. All of it is optional; nothing is read from the environment. */
export interface RegistryClientOptions extends TrustOptions {
  /** Default: none, so anonymous. */
  readonly credentials?: CredentialSource | undefined;
  /** Default `auto`. */
  readonly plainHttp?: PlainHttp | undefined;
  /** Mirrors and other hosts that speak for registries. Default: none, each registry is asked itself. */
  readonly hosts?: HostsSource | undefined;
  /** Default: direct connections. */
  readonly proxy?: ProxySettings | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly timeouts?: Partial<Timeouts> | undefined;
  /** Requests under way at one host for one repository, uploads and downloads together (default 32). */
  readonly maxConcurrency?: number | undefined;
  /** How long an entry of a referrers tag must stay before it counts as kept, in milliseconds (default 1 000). */
  readonly referrersSettleMs?: number | undefined;
  readonly userAgent?: string | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}

const DEFAULT_CONCURRENCY = 32;
/** Repositories of one host that may use all that is theirs at once, before they wait for each other's connections. */
const BUSY_REPOSITORIES = 8;
const DEFAULT_USER_AGENT = "soci-ts/0.1";

/**
 * A client of OCI registries (distribution-spec v1.1.1). One client serves any number of registries; for each of their hosts it
 * keeps the login, the connections and a bound on requests under way. Every method may be aborted by `signal`, and fails with an
 * AppError (a RegistryError where a server answered); no message or log line holds a credential.
 */
export class RegistryClient implements AsyncDisposable {
  readonly #deps: RegistryDeps;
  readonly #tags: ReferrersTags;
  readonly #registries = new Map<string, Registry>();
  readonly #rangelessOrigins = new Set<string>();

  constructor(options: RegistryClientOptions = {}) {
    const redactor = new Redactor();
    const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    const maxConcurrency = options.maxConcurrency ?? DEFAULT_CONCURRENCY;
    const { systemCaFiles, caFile, certsDir, proxy = {}, logger = silentLogger } = options;
    this.#deps = {
      transport: new Transport({
        trust: { systemCaFiles, caFile, certsDir },
        proxy,
        timeouts,
        redactor,
        connections: maxConcurrency * BUSY_REPOSITORIES,
      }),
      redactor,
      credentials: options.credentials ?? noCredentials,
      retry: { ...DEFAULT_RETRY, ...options.retry },
      hosts: options.hosts,
      plainHttp: options.plainHttp ?? "auto",
      connectTimeoutMs: timeouts.connectMs,
      maxConcurrency,
      userAgent: options.userAgent ?? DEFAULT_USER_AGENT,
      logger,
      metrics: options.metrics ?? silentMetrics,
    };
    const settleMs = options.referrersSettleMs ?? DEFAULT_SETTLE_MS;
    this.#tags = new ReferrersTags(this.#deps.transport, logger, { settleMs });
  }

  /**
   * Asks the registry's hosts whether one is there and lets us in (`GET /v2/`).
   * @returns the URL of that host.
   */
  ping(registry: string, options: IoOptions = {}): Promise<URL> {
    const action = `reach registry ${registry}`;
    const { signal } = options;
    return this.#registry(registry).ask({ needs: "resolve", action, signal }, async (host) => {
      const request = { action, method: "GET", target: "/v2/", expect: [200], scopes: [] } as const;
      await host.exchange({ ...request, signal }, () => {});
      return host.base();
    });
  }

  /**
   * A manifest or index, exactly as stored, its size bounded and its digest checked. Platforms are not resolved.
   * @throws RegistryError with status 404 if there is none; DigestMismatchError.
   */
  async fetchManifest(name: ManifestName, options: IoOptions = {}): Promise<FetchedManifest> {
    const question = manifestQuestion("fetch", name, options);
    const found = await this.#registry(name.registry).ask(question, (host) =>
      fetchManifest(host, this.#deps.transport, name, options),
    );
    return { descriptor: found.descriptor, bytes: found.bytes };
  }

  /** The descriptor of a manifest; undefined if there is none. */
  headManifest(name: ManifestName, options: IoOptions = {}): Promise<Descriptor | undefined> {
    return this.#registry(name.registry).ask(
      {
        ...manifestQuestion("look up", name, options),
        isAnswer: (found: Descriptor | undefined) => found !== undefined,
      },
      (host) => headManifest(host, this.#deps.transport, name, options),
    );
  }

  /** A blob to be read by ranges; nothing is sent until it is read. Its bytes are not verified. */
  openBlob(name: RepositoryName, descriptor: Descriptor): RemoteBlob {
    const { transport, retry, logger, metrics } = this.#deps;
    return new RegistryBlob(name.repository, descriptor, {
      registry: this.#registry(name.registry),
      transport,
      retry,
      logger,
      rangelessOrigins: this.#rangelessOrigins,
      onBytes: (length) => metrics.count("soci_registry_received_bytes_total", length),
      onRetry: () => metrics.count("soci_registry_retries_total"),
    });
  }

  /**
   * A blob whole, its size and digest checked.
   * @throws AppError `resource_exhausted` if it is longer than `maxBytes`; DigestMismatchError.
   */
  fetchBlob(
    name: RepositoryName,
    descriptor: Descriptor,
    options: IoOptions & { readonly maxBytes: number },
  ): Promise<Uint8Array> {
    return fetchBlob(this.openBlob(name, descriptor), descriptor, options);
  }

  /** True if the repository has the blob. */
  blobExists(name: RepositoryName, digest: Digest, options: IoOptions = {}): Promise<boolean> {
    const { registry, repository } = name;
    const action = `look up blob ${digest} of ${registry}/${repository}`;
    return this.#registry(registry).ask(
      { needs: "pull", action, signal: options.signal, isAnswer: (exists: boolean) => exists },
      (host) => blobExists(host, repository, digest, options),
    );
  }

  /**
   * Puts a blob into a repository unless it is there; large ones in chunks that are resumed after failures.
   * @throws AppError `invalid_argument` if the content has another length than the descriptor says.
   */
  async pushBlob(
    name: RepositoryName,
    descriptor: Descriptor,
    content: BlobContent,
    options: PushBlobOptions = {},
  ): Promise<PushedBlob> {
    const blob = { ...name, descriptor, content };
    const host = await this.#pusher(name, `push blob ${descriptor.digest}`);
    return pushBlob(host, this.#deps.retry, blob, options);
  }

  /** Pushes a manifest under the name's tag or, without one, by its digest. */
  async pushManifest(
    name: ManifestName,
    mediaType: string,
    bytes: Uint8Array,
    options: IoOptions = {},
  ): Promise<PushedManifest> {
    const host = await this.#pusher(name, "push manifest");
    return pushManifest(host, name, { mediaType, bytes }, options);
  }

  /**
   * Pushes a manifest that has a subject so that it is found as a referrer; where the registry does not list referrers, the
   * referrers tag is updated and no entry of a concurrent writer is lost.
   * @returns `subjectHandled` true if the registry lists it itself.
   */
  async pushReferrer(
    name: RepositoryName,
    mediaType: string,
    bytes: Uint8Array,
    options: IoOptions = {},
  ): Promise<PushedManifest> {
    const registry = await this.#pusher(name, "push referrer");
    const deps = { registry, transport: this.#deps.transport, tags: this.#tags };
    return pushReferrer(deps, name, { mediaType, bytes }, options);
  }

  /** What refers to the manifest `digest`; none is an empty list. An empty list of a mirror is not believed: its server is asked. */
  listReferrers(
    name: RepositoryName,
    digest: Digest,
    options: ListReferrersOptions = {},
  ): Promise<Descriptor[]> {
    const { registry, repository } = name;
    const action = `list the referrers of ${registry}/${repository}@${digest}`;
    return this.#registry(registry).ask(
      {
        needs: "resolve",
        action,
        signal: options.signal,
        isAnswer: (found: Descriptor[]) => found.length > 0,
      },
      (host) => listReferrers(host, this.#deps.transport, { repository, digest }, options),
    );
  }

  /** All tags of a repository, in the registry's order. */
  listTags(name: RepositoryName, options: IoOptions = {}): Promise<string[]> {
    const { registry, repository } = name;
    const action = `list the tags of ${registry}/${repository}`;
    return this.#registry(registry).ask(
      { needs: "resolve", action, signal: options.signal },
      (host) => listTags(host, this.#deps.transport, repository, options),
    );
  }

  #pusher(name: RepositoryName, action: string): Promise<RegistryHost> {
    return this.#registry(name.registry).pusher(`${action} to ${name.registry}/${name.repository}`);
  }

  #registry(name: string): Registry {
    const known = this.#registries.get(name) ?? new Registry(name, this.#deps);
    this.#registries.set(name, known);
    return known;
  }

  /** Breaks all connections; calls under way fail. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#deps.transport[Symbol.asyncDispose]();
  }
}

function manifestQuestion(
  verb: string,
  name: ManifestName,
  options: IoOptions,
): Pick<Question<never>, "needs" | "action" | "signal"> {
  return {
    needs: name.digest === undefined ? "resolve" : "pull",
    action: `${verb} manifest ${shownManifest(name)}`,
    signal: options.signal,
  };
}
