import { AppError, type IoOptions } from "@soci-ts/core";
import type { Dispatcher } from "undici";
import { type Authorization, Authorizer, type AuthScope } from "./authorizer.ts";
import { discardBody } from "./body.ts";
import type { CredentialSource } from "./credentials.ts";
import { headerValue } from "./headers.ts";
import { MAX_LOGINS, MAX_REDIRECTS } from "./limits.ts";
import type { ProxySettings } from "./proxy.ts";
import { Redactor } from "./redact.ts";
import { checkTarget, redirectError, redirectTarget } from "./redirects.ts";
import { isRefusal, renewedLogin } from "./renewed-login.ts";
import { DEFAULT_TIMEOUTS, type Timeouts, Transport, type WireResponse } from "./transport.ts";
import type { TrustOptions } from "./trust.ts";

/** Which registry, and how it is asked. */
export interface RawRegistryOptions extends TrustOptions {
  /** As in references: what credentials are filed under. */
  readonly name: string;
  /** Its scheme, host and port; the path is not used. */
  readonly url: URL;
  /**
   * With a source (also one that knows none: then anonymously), tokens are fetched here, and callers' Authorization must not
   * be among their headers. Without one requests go as they are.
   */
  readonly credentials?: CredentialSource | undefined;
  /** Hosts (`host[:port]`, as in URLs), besides the registry's own, that may have addresses which are not public. */
  readonly trustedHosts?: readonly string[] | undefined;
  readonly proxy?: ProxySettings | undefined;
  readonly timeouts?: Partial<Timeouts> | undefined;
  readonly userAgent?: string | undefined;
}

/** One request as a proxy makes it. */
export interface RawRequest extends IoOptions {
  readonly method: Dispatcher.HttpMethod;
  /** A path from `/v2/` on with its query, or a URL from {@link RawRegistry.location}. */
  readonly target: string | URL;
  readonly headers: Readonly<Record<string, string>>;
  /** What it is for; decides which token it gets. */
  readonly scope: AuthScope;
  /** Pieces are sent once: after them no other login is tried. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array> | undefined;
}

/** An answer as it came. Its body must be read to the end, or closed. */
export interface RawAnswer {
  /** Where it came from, after redirects. */
  readonly url: URL;
  readonly status: number;
  /** By lower-case name; several of one name are joined with commas. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the body; idempotent. */
  readonly close: () => void;
}

const CONNECTIONS = 256;

/**
 * One registry, asked as a proxy asks: any status is an answer, headers and bodies pass through, nothing is repeated. GET and
 * HEAD follow redirects; the Authorization header goes to the registry's own origin and nowhere else, and no request goes to an
 * address in the own network that the registry leads to, unless its host is trusted.
 */
export class RawRegistry implements AsyncDisposable {
  readonly url: URL;
  readonly #transport: Transport;
  readonly #auth: Authorizer | undefined;
  readonly #userAgent: string;
  #hasLearntLogin = false;

  constructor(options: RawRegistryOptions) {
    const { name, credentials, systemCaFiles, caFile, certsDir, proxy = {} } = options;
    const redactor = new Redactor();
    this.url = new URL(options.url.origin);
    this.#userAgent = options.userAgent ?? "soci-ts/0.1";
    this.#transport = new Transport({
      trust: { systemCaFiles, caFile, certsDir },
      proxy,
      timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
      redactor,
      connections: CONNECTIONS,
      trustedHosts: new Set([this.url.host, ...(options.trustedHosts ?? [])]),
    });
    const clientId = this.#userAgent.split("/", 1)[0] || "soci-ts";
    const deps = { transport: this.#transport, redactor, clientId };
    this.#auth = credentials && new Authorizer(name, credentials, deps);
  }

  /**
   * Sends a request and gives whatever is answered. The signal counts for the body too.
   * @throws TransportError if no answer comes; AppError `failed_precondition` or `permission_denied` if it leads where nothing
   * is sent; RegistryError if the token server refuses.
   */
  async send(request: RawRequest): Promise<RawAnswer> {
    const { target } = request;
    const url = typeof target === "string" ? new URL(target, this.url) : target;
    if (typeof target === "string" && url.origin !== this.url.origin) {
      throw new AppError("invalid_argument", "Cannot send: the target is no path, want /v2/…");
    }
    const { method } = request;
    const answer = await this.#answer(request, url);
    const { status } = answer;
    // Read away rather than ended: so the connection can be used again.
    if (method === "HEAD") for await (const _nothing of this.#pieces(answer));
    const body = method === "HEAD" ? nothing() : this.#pieces(answer);
    const close = (): void => void answer.body.destroy();
    return { url: answer.url, status, headers: joined(answer), body, close };
  }

  /**
   * A URL that an answer gave in `Location`, checked.
   * @throws AppError `failed_precondition` if nothing is to be sent there.
   */
  location(text: string, from: URL): URL {
    return checkTarget(text, { from, action: "follow the registry", mayLeaveTls: false });
  }

  /** Breaks all connections; requests under way fail. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }

  async #answer(request: RawRequest, url: URL): Promise<WireResponse> {
    const auth = this.#auth;
    if (auth === undefined || url.origin !== this.url.origin) return this.#follow(request, url);
    const isOnce = request.body !== undefined && !(request.body instanceof Uint8Array);
    if (isOnce) await this.#learnLogin(request);
    let authorization = await auth.prepare(request.scope, request);
    let answer = await this.#follow(request, url, authorization);
    for (let logins = 0; logins < MAX_LOGINS && !isOnce; logins++) {
      const isOurs = answer.url.origin === this.url.origin;
      if (!isOurs || !isRefusal(answer.status, authorization)) break;
      authorization = await renewedLogin(auth, answer, {
        scope: request.scope,
        refused: authorization,
        registryUrl: this.url,
        isFirst: logins === 0,
        signal: request.signal,
      });
      if (authorization === undefined) break;
      await discardBody(answer);
      answer = await this.#follow(request, url, authorization);
    }
    this.#hasLearntLogin = true;
    return answer;
  }

  /** A body that is sent once must not be spent on finding out how to log in. */
  async #learnLogin({ scope, signal }: RawRequest): Promise<void> {
    if (this.#hasLearntLogin) return;
    const answer = await this.send({ method: "GET", target: "/v2/", headers: {}, scope, signal });
    answer.close();
  }

  async #follow(
    request: RawRequest,
    first: URL,
    authorization?: Authorization,
  ): Promise<WireResponse> {
    const { method, body, signal } = request;
    const { authorization: given, ...headers } = request.headers;
    const own = authorization?.header ?? given;
    const action = "follow the registry";
    let url = first;
    for (let redirects = 0; ; redirects++) {
      const isOurs = url.origin === this.url.origin;
      const login = isOurs && own !== undefined && { authorization: own };
      const answer = await this.#transport.send({
        ...{ method, url, body, signal },
        headers: { "user-agent": this.#userAgent, ...headers, ...login },
      });
      const next = redirectTarget(request, answer);
      if (next === undefined) return answer;
      await discardBody(answer);
      if (redirects >= MAX_REDIRECTS)
        throw redirectError(action, `more than ${MAX_REDIRECTS} redirects`);
      url = this.location(next, url);
    }
  }

  async *#pieces(answer: WireResponse): AsyncIterable<Uint8Array> {
    try {
      yield* answer.body as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw this.#transport.failure(error, `read the answer of ${answer.url.host}`);
    } finally {
      answer.body.destroy();
    }
  }
}

async function* nothing(): AsyncIterable<Uint8Array> {}

function joined({ headers }: WireResponse): Record<string, string> {
  const all: Record<string, string> = {};
  for (const name of Object.keys(headers)) {
    const value = headerValue(headers, name);
    if (value !== undefined) all[name] = value;
  }
  return all;
}
