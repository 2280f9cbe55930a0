import { abortable, type Logger, type Metrics } from "@soci-ts/core";
import type { Dispatcher } from "undici";
import { type Authorization, Authorizer, type AuthScope } from "./authorizer.ts";
import { discardBody, readBody } from "./body.ts";
import type { CredentialSource } from "./credentials.ts";
import { parseSpecErrors, RegistryError } from "./errors.ts";
import { headerValue, parseRetryAfter } from "./headers.ts";
import { HostRest } from "./host-rest.ts";
import { ALL_CAPABILITIES, type HostConfig, type HostConnection } from "./hosts.ts";
import { ERROR_BODY_LIMIT_BYTES, MAX_LOGINS, MAX_REDIRECTS } from "./limits.ts";
import { Permits } from "./permits.ts";
import { type Redactor, shownUrl } from "./redact.ts";
import { checkTarget, redirectError, redirectTarget } from "./redirects.ts";
import { isRefusal, renewedLogin } from "./renewed-login.ts";
import { Backoff, type Repeatable, type RetryPolicy } from "./retry.ts";
import { chooseScheme, type PlainHttp } from "./scheme.ts";
import type { Transport, WireResponse } from "./transport.ts";

/** What all hosts of one client share. */
export interface RegistryHostDeps {
  readonly transport: Transport;
  readonly redactor: Redactor;
  readonly credentials: CredentialSource;
  readonly retry: RetryPolicy;
  readonly plainHttp: PlainHttp;
  readonly connectTimeoutMs: number;
  readonly maxConcurrency: number;
  readonly userAgent: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** One call of the distribution API. */
export interface RegistryRequest extends AuthScope {
  /** Completes "Cannot …" in errors, for example `fetch manifest app:v1`. */
  readonly action: string;
  readonly method: Dispatcher.HttpMethod;
  /** A path from `/v2/` on, with its query, or a URL that the registry gave (which may be elsewhere). */
  readonly target: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Statuses that are no error. */
  readonly expect: readonly number[];
  /** Default `always`: what we send may be repeated, except where said. `never` leaves it to the caller. */
  readonly repeatable?: Repeatable | "never";
  readonly signal?: AbortSignal | undefined;
}

/** Names that stand for another host (Docker Hub's registry is not where its name says). */
const API_HOSTS: ReadonlyMap<string, string> = new Map([["docker.io", "registry-1.docker.io"]]);

/** The host that a registry has where nothing is said about it. */
export const OWN_SERVER: HostConfig = {
  url: undefined,
  capabilities: ALL_CAPABILITIES,
  headers: {},
  connection: undefined,
};

/** A host's place in its registry. */
export interface RegistryHostOptions {
  /** The registry's name, as in references. */
  readonly registry: string;
  readonly config: HostConfig;
  readonly retry: RetryPolicy;
  /** True if the registry has others that can be asked in its place. */
  readonly hasOthers: boolean;
}

/**
 * One host of a registry: its scheme, its login, its share of connections. A request is prepared with what the host asked for
 * the last time, follows redirects (GET and HEAD only), answers a 401, and is repeated after transient failures.
 * The Authorization header and the host's own headers are sent to its own origin and nowhere else.
 */
export class RegistryHost {
  /** The registry's name. */
  readonly name: string;
  readonly config: HostConfig;
  /** Whether it is better left alone for now. */
  readonly rest: HostRest;
  readonly #deps: RegistryHostDeps;
  readonly #retry: RetryPolicy;
  readonly #hasOthers: boolean;
  readonly #auth: Authorizer;
  readonly #permits: Permits;
  /** For places that the host leads to: they do not see its client certificates. */
  readonly #elsewhere: HostConnection | undefined;
  #base: Promise<URL> | undefined;

  constructor(options: RegistryHostOptions, deps: RegistryHostDeps) {
    const { registry, config } = options;
    this.name = registry;
    this.config = config;
    this.#deps = deps;
    this.#retry = options.retry;
    this.#hasOthers = options.hasOthers;
    this.#permits = new Permits(deps.maxConcurrency);
    const { connection } = config;
    this.#elsewhere = connection && withoutClient(connection);
    this.rest = new HostRest({ registry, host: this.shownName }, deps);
    const { transport, redactor, userAgent } = deps;
    for (const value of Object.values(config.headers)) redactor.add(value);
    const clientId = userAgent.split("/", 1)[0] || "soci-ts";
    const loginName = this.#isProxy ? this.shownName : registry;
    this.#auth = new Authorizer(loginName, deps.credentials, {
      transport,
      redactor,
      clientId,
      connection: this.#elsewhere,
    });
  }

  /** `host[:port]`, for people; the registry's name for its own server. */
  get shownName(): string {
    const { url } = this.config;
    return url === undefined ? this.name : new URL(url.origin).host;
  }

  /** True for a mirror: a host that must be told which registry is meant, and has a login of its own. */
  get #isProxy(): boolean {
    const isNamed = this.shownName === this.name || this.shownName === API_HOSTS.get(this.name);
    return !isNamed;
  }

  /** Where it is: `https://host[:port]/`. */
  base(): Promise<URL> {
    const start = async (): Promise<URL> => {
      const { url } = this.config;
      if (url !== undefined) return new URL(url.origin);
      const host = API_HOSTS.get(this.name) ?? this.name;
      const { plainHttp, connectTimeoutMs } = this.#deps;
      const timeoutMs = this.config.connection?.connectTimeoutMs ?? connectTimeoutMs;
      const scheme = await chooseScheme(host, plainHttp, timeoutMs);
      return new URL(`${scheme}//${host}/`);
    };
    this.#base ??= start().catch((error: unknown) => {
      // A failure is not remembered.
      this.#base = undefined;
      throw error;
    });
    return this.#base;
  }

  /** The URL of a path from `/v2/` on. */
  async urlOf(target: string): Promise<URL> {
    const path = this.config.url?.path ?? "/v2";
    return this.#named(new URL(`${path}${target.slice("/v2".length)}`, await this.base()));
  }

  /**
   * The URL of a list's next page.
   * @returns undefined if it is not of this host's API.
   */
  async nextPage(link: string, from: URL, action: string): Promise<URL | undefined> {
    const url = this.checkTarget(link, from, action);
    const root = await this.urlOf("/v2/");
    const isOurs = url.origin === root.origin && url.pathname.startsWith(root.pathname);
    return isOurs ? this.#named(url) : undefined;
  }

  /** Tells a mirror which registry is meant, as containerd does. Added as text: the rest of the query must stay as it is. */
  #named(url: URL): URL {
    if (!this.#isProxy || url.searchParams.has("ns")) return url;
    const query = url.search === "" ? "?" : `${url.search}&`;
    url.search = `${query}ns=${encodeURIComponent(this.name)}`;
    return url;
  }

  /**
   * Sends a request and hands its answer to `use`; connection and permit are given back when that is done.
   * The whole is repeated after a transient failure, also one in `use`, which therefore only reads the answer.
   * @throws RegistryError for a status that is not expected, TransportError, or what `use` throws.
   */
  async exchange<T>(
    request: RegistryRequest,
    use: (answer: WireResponse) => T | Promise<T>,
  ): Promise<T> {
    const backoff = new Backoff(this.#retry);
    const repeatable = request.repeatable ?? "always";
    for (;;) {
      try {
        const once = (): Promise<T> => this.#exchangeOnce(request, use);
        return await this.#permits.run(request.repository, once, request.signal);
      } catch (error) {
        if (repeatable === "never") throw error;
        await backoff.wait(error, repeatable, request.signal);
        this.#noteRetry(request, error);
      }
    }
  }

  async #exchangeOnce<T>(
    request: RegistryRequest,
    use: (answer: WireResponse) => T | Promise<T>,
  ): Promise<T> {
    const answer = await this.#answer(request);
    try {
      return await use(answer);
    } finally {
      await discardBody(answer);
    }
  }

  /**
   * Sends a request once, without retries, for a body that is read piece by piece.
   * @returns the answer, and `close`, which must be called: it ends the body and gives the permit back. Idempotent.
   */
  async open(request: RegistryRequest): Promise<{ answer: WireResponse; close: () => void }> {
    const release = await this.#acquire(request);
    try {
      const answer = await this.#answer(request);
      const close = (): void => {
        answer.body.destroy();
        release();
      };
      return { answer, close };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Counts and logs a request that is about to be repeated. */
  #noteRetry(request: RegistryRequest, error: unknown): void {
    this.#deps.metrics.count("soci_registry_retries_total");
    this.#deps.logger.debug("repeating a request", {
      registry: this.name,
      host: this.shownName,
      action: request.action,
      reason: error instanceof Error ? error.message : undefined,
    });
  }

  #acquire({ repository, signal }: RegistryRequest): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const hold = (): Promise<void> => new Promise((release) => resolve(release));
      this.#permits.run(repository, hold, signal).catch(reject);
    });
  }

  /** The answer, redirects and login done, if its status is expected. */
  async #answer(request: RegistryRequest): Promise<WireResponse> {
    const base = await abortable(this.base(), request.signal);
    const { target } = request;
    const url = typeof target === "string" ? await this.urlOf(target) : target;
    let authorization = await this.#auth.prepare(request, request);
    let answer = await this.#follow(request, url, authorization);
    for (let renewals = 0; renewals < MAX_LOGINS; renewals++) {
      if (answer.url.origin !== base.origin || !isRefusal(answer.status, authorization)) break;
      authorization = await renewedLogin(this.#auth, answer, {
        scope: request,
        refused: authorization,
        registryUrl: base,
        isFirst: renewals === 0,
        signal: request.signal,
      });
      if (authorization === undefined) break;
      await discardBody(answer);
      answer = await this.#follow(request, url, authorization);
    }
    if (request.expect.includes(answer.status)) return answer;
    throw await this.#refusal(answer, request);
  }

  async #follow(
    request: RegistryRequest,
    first: URL,
    authorization: Authorization | undefined,
  ): Promise<WireResponse> {
    const { origin } = await this.base();
    const { config } = this;
    const { metrics, logger, transport, userAgent } = this.#deps;
    let url = first;
    for (let redirects = 0; ; redirects++) {
      const isOurs = url.origin === origin;
      const answer = await transport.send({
        method: request.method,
        url,
        headers: {
          "user-agent": userAgent,
          ...(isOurs && config.headers),
          ...request.headers,
          ...(isOurs && authorization !== undefined && { authorization: authorization.header }),
        },
        body: request.body,
        connection: isOurs ? config.connection : this.#elsewhere,
        hasOthers: this.#hasOthers,
        signal: request.signal,
      });
      metrics.count("soci_registry_requests_total");
      logger.debug("request", {
        method: request.method,
        url: shownUrl(url),
        status: answer.status,
      });
      const next = redirectTarget(request, answer);
      if (next === undefined) return answer;
      await discardBody(answer);
      if (redirects >= MAX_REDIRECTS)
        throw redirectError(request.action, `more than ${MAX_REDIRECTS} redirects`);
      url = this.checkTarget(next, url, request.action);
    }
  }

  /** See {@link checkTarget}. */
  checkTarget(text: string, from: URL, action: string): URL {
    return checkTarget(text, { from, action, mayLeaveTls: this.#deps.plainHttp === true });
  }

  async #refusal(answer: WireResponse, request: RegistryRequest): Promise<RegistryError> {
    const { transport, redactor } = this.#deps;
    const elsewhere =
      answer.url.origin === (await this.base()).origin ? "" : ` from ${answer.url.host}`;
    let body = new Uint8Array() as Uint8Array;
    try {
      body = await readBody(answer, ERROR_BODY_LIMIT_BYTES, transport);
    } catch {
      // The status is the news; a body that is too long or broken adds nothing.
      request.signal?.throwIfAborted();
    }
    return new RegistryError(`${request.action}${elsewhere}`, {
      status: answer.status,
      specErrors: parseSpecErrors(body, redactor),
      retryAfterMs: parseRetryAfter(headerValue(answer.headers, "retry-after"), Date.now()),
      hint:
        answer.status === 401
          ? `${this.shownName} wants a login that is not there or not accepted`
          : undefined,
    });
  }
}

/** The CA and `skip_verify` of a host hold for its storage too, as with containerd; its client certificate is for it alone. */
function withoutClient(connection: HostConnection): HostConnection {
  return { ...connection, id: `${connection.id} elsewhere`, clientPairs: [] };
}
