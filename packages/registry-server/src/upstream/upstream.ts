import { AppError, type Logger, type Metrics } from "@soci-ts/core";
import {
  type RawAnswer,
  RawRegistry,
  type RawRequest,
  TransportError,
} from "@soci-ts/registry-client";
import { isRepositoryName } from "../route.ts";
import { CONNECT_TIMEOUT_MS, REST_MS } from "./limits.ts";
import type { UpstreamOptions } from "./options.ts";

/** True for a host, in lower case, with or without a port. */
export function isUpstreamName(name: string): boolean {
  return !name.includes("/") && isRepositoryName(roomOf(name));
}

function roomOf(name: string): string {
  return name.replaceAll(":", "_");
}

/** What all upstreams share. */
export interface UpstreamDeps {
  /** How long an upstream that could not be reached just now is waited for, in milliseconds. */
  readonly patienceMs: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** One registry behind the companion: whether it answers, and where its repositories are in our own. */
export class Upstream implements AsyncDisposable {
  readonly name: string;
  /** Its repositories are kept here as `<room>/<repository>`. */
  readonly room: string;
  /** True if the client's Authorization is passed on. */
  readonly passesLogin: boolean;
  readonly #registry: RawRegistry;
  readonly #deps: UpstreamDeps;
  #restsUntilMs = 0;

  /** @throws AppError `invalid_argument` if the name cannot be used. */
  constructor(options: UpstreamOptions, deps: UpstreamDeps) {
    const { name, url, credentials, trustedHosts, caFile } = options;
    this.name = name;
    this.room = roomOf(name);
    if (!isUpstreamName(name)) {
      throw new AppError(
        "invalid_argument",
        `Cannot use upstream ${JSON.stringify(name)}: want host or host:port, in lower case`,
      );
    }
    this.passesLogin = credentials === undefined;
    this.#deps = deps;
    const timeouts = { connectMs: CONNECT_TIMEOUT_MS };
    this.#registry = new RawRegistry({ name, url, credentials, trustedHosts, caFile, timeouts });
  }

  /** True for a while after it could not be reached. */
  get isResting(): boolean {
    return Date.now() < this.#restsUntilMs;
  }

  /**
   * Sends a request.
   * @param patienceMs - how long to wait for the head of the answer, if not as long as usual; while it rests never longer than
   * the patience with all, so that what is not known without it does not wait in vain each time.
   * @throws AppError `unavailable` if no answer comes; else as {@link RawRegistry.send}.
   */
  async ask(request: RawRequest, patienceMs?: number): Promise<RawAnswer> {
    const abort = new AbortController();
    const isUpload = request.body !== undefined;
    const mostMs = this.isResting && !isUpload ? this.#deps.patienceMs : patienceMs;
    const timer = mostMs && setTimeout(() => abort.abort(), mostMs);
    this.#deps.metrics.count("soci_referrers_upstream_requests_total");
    try {
      const answer = await this.#registry.send({ ...request, signal: abort.signal });
      this.#restsUntilMs = 0;
      return this.#told({ ...answer, body: this.#counted(answer.body) });
    } catch (cause) {
      throw this.#failure(cause, abort.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Where the login is ours, a client must not be asked for one: what is refused to us is denied to it. */
  #told(answer: RawAnswer): RawAnswer {
    if (this.passesLogin || answer.status !== 401) return answer;
    const { "www-authenticate": _challenge, ...headers } = answer.headers;
    return { ...answer, status: 403, headers };
  }

  /** What is wrong with the way to it makes it rest; what it says, or where it leads, does not. */
  #failure(cause: unknown, { aborted }: AbortSignal): AppError {
    const failure = AppError.from(cause);
    const reason = aborted ? "no answer in time" : failure.message;
    this.#deps.logger.warn("upstream gives no answer", { upstream: this.name, reason });
    if (!aborted && !(failure instanceof TransportError)) return failure;
    this.#deps.metrics.count("soci_referrers_upstream_failures_total");
    this.#restsUntilMs = Date.now() + REST_MS;
    const message = `Cannot ask upstream ${this.name}: ${reason}`;
    return new AppError("unavailable", message, { cause });
  }

  /** See {@link RawRegistry.location}. */
  location(text: string, from: URL): URL {
    return this.#registry.location(text, from);
  }

  /** Breaks all connections. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
  }

  async *#counted(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const piece of body) {
      this.#deps.metrics.count("soci_referrers_upstream_received_bytes_total", piece.length);
      yield piece;
    }
  }
}
