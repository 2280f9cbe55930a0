import { AppError, abortable, type Logger, type Metrics, Semaphore } from "@soci-ts/core";
import type { Dispatcher } from "undici";
import { type Authorization, Authorizer, type AuthScope } from "./authorizer.ts";
import { discardBody, readBody } from "./body.ts";
import type { CredentialSource } from "./credentials.ts";
import { parseSpecErrors, RegistryError } from "./errors.ts";
import { headerValue, parseRetryAfter } from "./headers.ts";
import { ERROR_BODY_LIMIT_BYTES, MAX_REDIRECTS } from "./limits.ts";
import { isLoopbackHost } from "./proxy.ts";
import { type Redactor, shownUrl } from "./redact.ts";
import { Backoff, type Repeatable, type RetryPolicy } from "./retry.ts";
import { chooseScheme, type PlainHttp } from "./scheme.ts";
import type { Transport, WireResponse } from "./transport.ts";

/** What all registries of one client share. */
export interface RegistryDeps {
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
  /** A path below the registry, with its query, or a URL that the registry gave (which may be elsewhere). */
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

/**
 * One registry: its scheme, its login, its share of connections. A request is prepared with what the registry asked for the
 * last time, follows redirects (GET and HEAD only), answers a 401 once, and is repeated after transient failures.
 * The Authorization header is sent to the registry's own origin and nowhere else.
 */
export class Registry {
  readonly name: string;
  readonly #deps: RegistryDeps;
  readonly #auth: Authorizer;
  readonly #permits: Semaphore;
  #base: Promise<URL> | undefined;

  constructor(name: string, deps: RegistryDeps) {
    this.name = name;
    this.#deps = deps;
    this.#permits = new Semaphore(deps.maxConcurrency);
    const { transport, redactor, userAgent } = deps;
    const clientId = userAgent.split("/", 1)[0] || "soci-ts";
    this.#auth = new Authorizer(name, deps.credentials, { transport, redactor, clientId });
  }

  /** Where its API is: `https://host[:port]/`. */
  base(): Promise<URL> {
    const start = async (): Promise<URL> => {
      const host = API_HOSTS.get(this.name) ?? this.name;
      const { plainHttp, connectTimeoutMs } = this.#deps;
      const scheme = await chooseScheme(host, plainHttp, connectTimeoutMs);
      return new URL(`${scheme}//${host}/`);
    };
    this.#base ??= start().catch((error: unknown) => {
      // A failure is not remembered.
      this.#base = undefined;
      throw error;
    });
    return this.#base;
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
    const backoff = new Backoff(this.#deps.retry);
    const repeatable = request.repeatable ?? "always";
    for (;;) {
      try {
        return await this.#permits.run(() => this.#exchangeOnce(request, use), request.signal);
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
    const release = await this.#acquire(request.signal);
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
      action: request.action,
      reason: error instanceof Error ? error.message : undefined,
    });
  }

  #acquire(signal: AbortSignal | undefined): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const hold = (): Promise<void> => new Promise((release) => resolve(release));
      this.#permits.run(hold, signal).catch(reject);
    });
  }

  /** The answer, redirects and login done, if its status is expected. */
  async #answer(request: RegistryRequest): Promise<WireResponse> {
    const base = await abortable(this.base(), request.signal);
    const url = typeof request.target === "string" ? new URL(request.target, base) : request.target;
    const authorization = await this.#auth.prepare(request, request);
    let answer = await this.#follow(request, url, authorization);
    if (answer.url.origin === base.origin && isRefusal(answer.status, authorization)) {
      const renewed = await this.#renew(answer, request, authorization);
      if (renewed !== undefined) {
        await discardBody(answer);
        answer = await this.#follow(request, url, renewed);
      }
    }
    if (request.expect.includes(answer.status)) return answer;
    throw await this.#refusal(answer, request);
  }

  async #renew(
    answer: WireResponse,
    request: RegistryRequest,
    refused: Authorization | undefined,
  ): Promise<Authorization | undefined> {
    const challenge = headerValue(answer.headers, "www-authenticate");
    const registryUrl = await this.base();
    try {
      return await this.#auth.renew(challenge, request, {
        refused,
        registryUrl,
        signal: request.signal,
      });
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
  }

  async #follow(
    request: RegistryRequest,
    first: URL,
    authorization: Authorization | undefined,
  ): Promise<WireResponse> {
    const { origin } = await this.base();
    const { metrics, logger, transport, userAgent } = this.#deps;
    let url = first;
    for (let redirects = 0; ; redirects++) {
      const isOurs = url.origin === origin;
      const answer = await transport.send({
        method: request.method,
        url,
        headers: {
          "user-agent": userAgent,
          ...request.headers,
          ...(isOurs && authorization !== undefined && { authorization: authorization.header }),
        },
        body: request.body,
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
        throw redirectError(request, `more than ${MAX_REDIRECTS} redirects`);
      url = this.checkTarget(next, url, request.action);
    }
  }

  /**
   * A URL that a registry gave, checked before anything is sent there.
   * @throws AppError `failed_precondition`; the URL's query, which may hold a signature, is not shown.
   */
  checkTarget(text: string, from: URL, action: string): URL {
    const url = URL.canParse(text, from.href) ? new URL(text, from) : undefined;
    if (url === undefined) throw redirectError({ action }, "a URL that is none");
    url.hash = "";
    if (!/^https?:$/.test(url.protocol))
      throw redirectError({ action }, `a URL with the scheme ${url.protocol}`);
    if (url.username !== "" || url.password !== "")
      throw redirectError({ action }, "a URL with a user name");
    const isDowngrade = from.protocol === "https:" && url.protocol === "http:";
    if (isDowngrade && this.#deps.plainHttp !== true && !isLoopbackHost(url.hostname)) {
      throw redirectError({ action }, `a URL in plain HTTP (${shownUrl(url)})`);
    }
    return url;
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
          ? `${this.name} wants a login that is not there or not accepted`
          : undefined,
    });
  }
}

/** A 403 of a cached login may mean only that it has expired (ECR does so); of a fresh one it is final. */
function isRefusal(status: number, authorization: Authorization | undefined): boolean {
  return status === 401 || (status === 403 && authorization?.wasCached === true);
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function redirectTarget(request: RegistryRequest, answer: WireResponse): string | undefined {
  if (!REDIRECTS.has(answer.status) || request.expect.includes(answer.status)) return undefined;
  if (request.method !== "GET" && request.method !== "HEAD") return undefined;
  return headerValue(answer.headers, "location");
}

function redirectError(request: Pick<RegistryRequest, "action">, what: string): AppError {
  return new AppError(
    "failed_precondition",
    `Cannot ${request.action}: the registry gives ${what}, want an http or https URL that can be followed`,
  );
}
