import { Readable } from "node:stream";
import { AppError, type ErrorCode } from "@soci-ts/core";
import { Agent, type Dispatcher } from "undici";
import { TransportError } from "./errors.ts";
import type { ResponseHeaders } from "./headers.ts";
import type { HostConnection } from "./hosts.ts";
import { sharedLookup } from "./look-up.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";
import { publicLookup, refusePrivateAddress } from "./public-address.ts";
import { type Redactor, shownUrl } from "./redact.ts";
import { Trust, type TrustOptions } from "./trust.ts";
import { proxyAuthorization, tunnelConnector } from "./tunnel.ts";

/** How long to wait, in milliseconds. */
export interface Timeouts {
  /** For a connection, with its TLS handshake (default 10 000). */
  readonly connectMs: number;
  /** For the head of an answer after the request was sent (default 30 000). */
  readonly headersMs: number;
  /** Between two pieces of a body (default 30 000). */
  readonly idleMs: number;
  /** For the head, and between two pieces of a body, where another host can be asked instead (default 10 000). */
  readonly otherHostMs: number;
}

/** The time-outs used where none are given. */
export const DEFAULT_TIMEOUTS: Timeouts = {
  connectMs: 10_000,
  headersMs: 30_000,
  idleMs: 30_000,
  otherHostMs: 10_000,
};

/** One HTTP request, complete. */
export interface WireRequest {
  readonly method: Dispatcher.HttpMethod;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Pieces can be sent once only; say their length in `headers` where it is known. */
  readonly body?: Uint8Array | string | AsyncIterable<Uint8Array> | undefined;
  /** How to connect, if not as usual. */
  readonly connection?: HostConnection | undefined;
  /** True if another host can be asked, so that this one is not waited for as long. */
  readonly hasOthers?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The head of an answer; its body must be read to the end or destroyed. */
export interface WireResponse {
  readonly url: URL;
  readonly status: number;
  readonly headers: ResponseHeaders;
  readonly body: Dispatcher.ResponseData["body"];
}

/** What the transport is made of. */
export interface TransportOptions {
  readonly trust: TrustOptions;
  readonly proxy: ProxySettings;
  readonly timeouts: Timeouts;
  readonly redactor: Redactor;
  /** Connections to one origin. */
  readonly connections: number;
  /**
   * If given, only these hosts (`host[:port]`, as in URLs) may have addresses that are not public: no registry can lead
   * elsewhere in the own network. Names are then judged by their addresses; where a proxy resolves them, only literal
   * addresses are.
   */
  readonly trustedHosts?: ReadonlySet<string> | undefined;
}

/** An agent, and whose settings it was made with. */
interface KeptAgent {
  readonly agent: Agent;
  readonly connectionId: string | undefined;
}

/** How a request gets to its server. */
interface Route {
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  readonly path: string;
  /** Those that the way needs, beside the request's own. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The slowest upload for which the answer is awaited: 50 bytes a millisecond. */
const SLOWEST_UPLOAD_BYTES_PER_MS = 50;
/** How long a body of unknown length may take besides (5 min). */
const STREAMED_UPLOAD_MS = 300_000;

/** Sends requests: picks TLS settings and proxy by host, keeps connections, turns failures into AppErrors. */
export class Transport implements AsyncDisposable {
  readonly #options: TransportOptions;
  readonly #trust: Trust;
  readonly #lookup = sharedLookup();
  readonly #publicLookup = publicLookup(this.#lookup);
  readonly #agents = new Map<string, KeptAgent>();
  /** No longer used for new requests, and not yet done with old ones. */
  readonly #retired = new Set<Agent>();
  #isClosed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#trust = new Trust(options.trust);
  }

  /**
   * Sends one request, without redirects, credentials or retries of its own.
   * @throws TransportError if no answer comes; AppError `failed_precondition` if the server's certificate is not trusted.
   */
  async send(request: WireRequest): Promise<WireResponse> {
    const { method, url, headers, body, signal } = request;
    signal?.throwIfAborted();
    const route = await this.#routeTo(url, request.connection);
    const { headersMs, idleMs, otherHostMs } = this.#options.timeouts;
    const mostMs = request.hasOthers === true ? otherHostMs : Number.POSITIVE_INFINITY;
    const uploadMs = uploadTime(body);
    try {
      const answer = await route.dispatcher.request({
        origin: route.origin,
        path: route.path,
        method,
        headers: { ...headers, ...route.headers },
        body: wireBody(body),
        headersTimeout: Math.min(headersMs, mostMs) + uploadMs,
        bodyTimeout: Math.min(idleMs, mostMs),
        ...(signal !== undefined && { signal }),
      });
      // A body that nobody reads any more may still fail.
      answer.body.on("error", () => {});
      return { url, status: answer.statusCode, headers: answer.headers, body: answer.body };
    } catch (error) {
      signal?.throwIfAborted();
      throw this.failure(error, `reach ${shownUrl(url)}`);
    }
  }

  /** What went wrong on the wire, as an AppError with no secret in it. `action` completes "Cannot …". */
  failure(error: unknown, action: string): AppError {
    if (error instanceof AppError) return error;
    const { code = "UNKNOWN", message } = rootOf(error);
    const reason = FAILURES.get(code) ?? `${this.#options.redactor.scrub(message, 200)} (${code})`;
    if (isTlsFailure(code)) {
      const wanted =
        code === "ERR_SSL_WRONG_VERSION_NUMBER"
          ? "a server that speaks TLS, or plain HTTP allowed"
          : "its CA among the trusted ones (caFile, certs.d or the system's bundle)";
      const state = FAILURES.get(code) ?? `TLS failed (${code})`;
      return new AppError("failed_precondition", `Cannot ${action}: ${state}, want ${wanted}`);
    }
    if (code === "UND_ERR_INVALID_ARG") {
      return new AppError("invalid_argument", `Cannot ${action}: ${reason}`);
    }
    return new TransportError(codeFor(code), `Cannot ${action}: ${reason}`, {
      sent: !NEVER_SENT.has(code),
    });
  }

  /** Lets connections that were made with these settings, or with what was derived from them, end with what is under way on them. */
  forget(connection: HostConnection): void {
    this.#trust.forget(connection);
    for (const [key, { agent, connectionId }] of this.#agents) {
      const isOf = connectionId === connection.id || connectionId?.startsWith(`${connection.id} `);
      if (isOf !== true) continue;
      this.#agents.delete(key);
      this.#retired.add(agent);
      // Nobody waits for it, and being destroyed with the client is no failure.
      const done = (): boolean => this.#retired.delete(agent);
      agent.close().then(done, done);
    }
  }

  async #routeTo(url: URL, connection: HostConnection | undefined): Promise<Route> {
    if (this.#isClosed) {
      throw new AppError("failed_precondition", "Cannot send: the client is closed");
    }
    const mustBePublic = this.#mustBePublic(url);
    if (mustBePublic) refusePrivateAddress(url);
    const proxy = proxyFor(url, this.#options.proxy);
    const path = `${url.pathname}${url.search}`;
    const { origin } = url;
    if (proxy === undefined) {
      const dispatcher = await this.#direct(url, connection, mustBePublic);
      return { dispatcher, origin, path, headers: {} };
    }
    if (url.protocol === "https:") {
      const dispatcher = await this.#tunnel(url, proxy, connection);
      return { dispatcher, origin, path, headers: {} };
    }
    // Plain HTTP is not tunnelled: the proxy is asked for the whole URL (RFC 9112 §3.2.2).
    const headers = { host: url.host, ...proxyAuthorization(proxy, this.#options.redactor) };
    const dispatcher = await this.#direct(proxy, undefined, false);
    return { dispatcher, origin: proxy.origin, path: `${url.origin}${path}`, headers };
  }

  #mustBePublic(url: URL): boolean {
    const { trustedHosts } = this.#options;
    return trustedHosts !== undefined && !trustedHosts.has(url.host);
  }

  async #direct(
    url: URL,
    connection: HostConnection | undefined,
    mustBePublic: boolean,
  ): Promise<Dispatcher> {
    const timeout = connection?.connectTimeoutMs ?? this.#options.timeouts.connectMs;
    const lookup = mustBePublic ? this.#publicLookup : this.#lookup;
    const kind = mustBePublic ? "public " : "";
    const id = connection?.id;
    if (url.protocol !== "https:")
      return this.#agent(`${kind}plain ${id ?? ""}`, { timeout, lookup }, id);
    const { name, context } = await this.#trust.contextFor(url.host, connection);
    const rejectUnauthorized = connection?.skipVerify !== true;
    const tls = { secureContext: context, rejectUnauthorized };
    return this.#agent(`${kind}tls ${name}`, { timeout, lookup, ...tls }, id);
  }

  async #tunnel(url: URL, proxy: URL, connection: HostConnection | undefined): Promise<Dispatcher> {
    const { redactor, timeouts } = this.#options;
    const { name, context } = await this.#trust.contextFor(url.host, connection);
    const { context: proxyContext } = await this.#trust.contextFor(proxy.host);
    const timeoutMs = connection?.connectTimeoutMs ?? timeouts.connectMs;
    const rejectUnauthorized = connection?.skipVerify !== true;
    // Without the proxy's password in it: keys show up in dumps.
    const key = `tunnel ${proxy.host} ${name}`;
    const tunnel = { proxy, timeoutMs, context, rejectUnauthorized, proxyContext, redactor };
    return this.#agent(key, tunnelConnector(tunnel), connection?.id);
  }

  #agent(
    key: string,
    connect: NonNullable<Agent.Options["connect"]>,
    connectionId: string | undefined,
  ): Dispatcher {
    const known = this.#agents.get(key);
    if (known !== undefined) return known.agent;
    const agent = new Agent({ connections: this.#options.connections, connect });
    this.#agents.set(key, { agent, connectionId });
    return agent;
  }

  /** Breaks all connections; requests under way fail. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const agents = [...[...this.#agents.values()].map(({ agent }) => agent), ...this.#retired];
    this.#agents.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
  }
}

function wireBody(body: WireRequest["body"]): Uint8Array | string | Readable | null {
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array)
    return body ?? null;
  return Readable.from(body, { objectMode: false });
}

function uploadTime(body: WireRequest["body"]): number {
  if (body === undefined) return 0;
  if (typeof body === "string" || body instanceof Uint8Array)
    return Math.ceil(body.length / SLOWEST_UPLOAD_BYTES_PER_MS);
  return STREAMED_UPLOAD_MS;
}

const FAILURES: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "the connection is refused"],
  ["ECONNRESET", "the connection is reset"],
  ["EPIPE", "the connection is closed"],
  ["ENOTFOUND", "its name is not known"],
  ["EAI_AGAIN", "its name cannot be resolved now"],
  ["EHOSTUNREACH", "the host cannot be reached"],
  ["ENETUNREACH", "the network cannot be reached"],
  ["UND_ERR_CONNECT_TIMEOUT", "no connection in time"],
  ["UND_ERR_HEADERS_TIMEOUT", "no answer in time"],
  ["UND_ERR_BODY_TIMEOUT", "the answer stalls"],
  ["UND_ERR_SOCKET", "the connection is closed too early"],
  ["UND_ERR_DESTROYED", "the client is closed"],
  ["UND_ERR_HEADERS_OVERFLOW", "the answer's headers are too long"],
  ["ERR_SSL_WRONG_VERSION_NUMBER", "it does not speak TLS"],
]);

const NEVER_SENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

function codeFor(code: string): ErrorCode {
  return code.endsWith("TIMEOUT") || code === "ETIMEDOUT" ? "deadline_exceeded" : "unavailable";
}

function isTlsFailure(code: string): boolean {
  return /^(ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/.test(
    code,
  );
}

/** undici wraps system errors, and Node wraps those of several addresses. */
function rootOf(error: unknown): { code?: string; message: string } {
  let current = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth++) {
    const { code, cause } = current as NodeJS.ErrnoException & { cause?: unknown };
    const inner = current instanceof AggregateError ? current.errors[0] : cause;
    if (!(inner instanceof Error)) {
      return { ...(typeof code === "string" && { code }), message: current.message };
    }
    current = inner;
  }
  return { message: current instanceof Error ? current.message : String(current) };
}
