import { type ByteSource, checkRange, type IoOptions, type Logger } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { RegistryError, TransportError } from "./errors.ts";
import { headerValue, numberHeader, parseContentRange } from "./headers.ts";
import { HostTour } from "./host-tour.ts";
import { PROGRESS_BYTES } from "./limits.ts";
import { shownUrl } from "./redact.ts";
import type { Registry } from "./registry.ts";
import type { RegistryHost, RegistryRequest } from "./registry-host.ts";
import { Backoff, type RetryPolicy } from "./retry.ts";
import type { Transport, WireResponse } from "./transport.ts";

/** A blob in a registry, read by ranges. Bytes are as they come: the caller checks digests. */
export interface RemoteBlob extends ByteSource {
  /**
   * The bytes of [start, end), in pieces as they arrive. A body that breaks off is resumed where it stopped, at another host of
   * the registry if there is one.
   * Leaving the loop early ends the request. Each piece is the consumer's to keep.
   * @throws AppError `out_of_range`; RegistryError; AppError `unavailable`, `deadline_exceeded` or `data_loss` when
   *   the attempts are used up.
   */
  stream(start: number, end: number, options?: IoOptions): AsyncIterable<Uint8Array>;
  /** Says that bytes read before are not the blob's: the next are read from another host of the registry, if there is one. */
  distrust(): void;
}

/** What reading a blob needs. */
export interface RemoteBlobDeps {
  readonly registry: Registry;
  readonly transport: Transport;
  readonly retry: RetryPolicy;
  readonly logger: Logger;
  /** Origins that were seen to answer a range request with the whole; told once each. */
  readonly rangelessOrigins: Set<string>;
  readonly onBytes: (length: number) => void;
  /** Called before a request is made again after a failure. */
  readonly onRetry: () => void;
}

/** Where a blob was found. */
interface BlobPlace {
  readonly host: RegistryHost;
  /** Where that host redirected to, good until it is refused. */
  readonly target: URL | undefined;
}

/**
 * A blob read through `GET …/blobs/DIGEST`. The host that had it is remembered, and so is where that redirects to, which is
 * asked directly; when that place refuses (signed URLs expire), the host is asked anew. A server that ignores Range is
 * served by skipping.
 */
export class RegistryBlob implements RemoteBlob {
  readonly size: number;
  readonly #deps: RemoteBlobDeps;
  readonly #request: Omit<RegistryRequest, "target">;
  readonly #path: string;
  #place: BlobPlace | undefined;
  /** A host whose bytes were wrong: it is asked last. */
  #distrusted: RegistryHost | undefined;

  constructor(repository: string, descriptor: Descriptor, deps: RemoteBlobDeps) {
    this.size = descriptor.size;
    this.#deps = deps;
    this.#path = `/v2/${repository}/blobs/${descriptor.digest}`;
    this.#request = {
      action: `read blob ${descriptor.digest} of ${deps.registry.name}/${repository}`,
      method: "GET",
      expect: [200, 206],
      repository,
      scopes: [`repository:${repository}:pull`],
    };
  }

  /** See ByteSource; memory is `length` bytes. */
  async readAt(offset: number, length: number, options?: IoOptions): Promise<Uint8Array> {
    checkRange(this.size, offset, length);
    const bytes = new Uint8Array(length);
    let filled = 0;
    for await (const piece of this.stream(offset, offset + length, options)) {
      bytes.set(piece, filled);
      filled += piece.length;
    }
    return bytes;
  }

  /** See {@link RemoteBlob.stream}. */
  async *stream(
    start: number,
    end: number,
    options: IoOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    checkRange(this.size, start, end - start);
    const backoff = new Backoff(this.#deps.retry);
    let at = start;
    let progressAt = start;
    let walk = await this.#startWalk();
    while (at < end) {
      options.signal?.throwIfAborted();
      const { host, tour } = walk;
      const target = this.#targetAt(host);
      try {
        for await (const piece of this.#pieces(host, { start: at, end }, options)) {
          at += piece.length;
          yield piece;
        }
        host.rest.noteSuccess();
      } catch (error) {
        if (at - progressAt >= PROGRESS_BYTES) backoff.reset();
        progressAt = at;
        // A remembered URL that is refused has expired; asking the host again costs no attempt.
        if (!this.#dropRefused(host, target, error)) {
          tour.noteFailure(host, error);
          const next = tour.next();
          if (next === undefined) await waitAfter(tour, backoff, options.signal);
          walk = next === undefined ? await this.#startWalk() : { host: next, tour };
        }
        this.#deps.onRetry();
      }
    }
  }

  /** See {@link RemoteBlob.distrust}. */
  distrust(): void {
    this.#distrusted = this.#place?.host;
    this.#place = undefined;
  }

  async #startWalk(): Promise<{ readonly host: RegistryHost; readonly tour: HostTour }> {
    const { registry } = this.#deps;
    const hosts = await registry.hosts("pull", this.#request.action);
    const tour = new HostTour(hosts, { first: this.#place?.host, last: this.#distrusted });
    return { host: tour.next() ?? hosts[0], tour };
  }

  #targetAt(host: RegistryHost): URL | undefined {
    return this.#place?.host === host ? this.#place.target : undefined;
  }

  /** One request's worth: the bytes of the range from its beginning, all or up to a failure. */
  async *#pieces(
    host: RegistryHost,
    range: { readonly start: number; readonly end: number },
    options: IoOptions,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { transport, onBytes } = this.#deps;
    const { start, end } = range;
    const isWhole = start === 0 && end === this.size;
    const { answer, close } = await host.open({
      ...this.#request,
      target: this.#targetAt(host) ?? this.#path,
      headers: {
        "accept-encoding": "identity",
        ...(!isWhole && { range: `bytes=${start}-${end - 1}` }),
      },
      signal: options.signal,
    });
    try {
      const window = this.#window(answer, start, end, isWhole);
      const own = await host.urlOf(this.#path);
      this.#place = { host, target: answer.url.href === own.href ? undefined : answer.url };
      yield* windowOf(answer.body, window, onBytes, (problem) => this.#error(answer, problem));
    } catch (error) {
      options.signal?.throwIfAborted();
      throw transport.failure(error, this.#request.action);
    } finally {
      close();
    }
  }

  /** Which part of the answer's body is wanted: checks its head against the question. */
  #window(answer: WireResponse, start: number, end: number, isWhole: boolean): BodyWindow {
    const { headers, status } = answer;
    const length = numberHeader(headers, "content-length");
    const encoding = headerValue(headers, "content-encoding") ?? "identity";
    if (encoding !== "identity") throw this.#error(answer, "is encoded, want it as it is stored");
    if (status === 200) {
      if (length !== undefined && length !== this.size) {
        throw this.#error(answer, `has ${length} bytes, want ${this.size}`);
      }
      if (!isWhole) this.#noteRangeless(answer.url);
      return { skip: start, take: end - start, isExact: end === this.size };
    }
    const text = headerValue(headers, "content-range");
    const range = parseContentRange(text);
    const fits =
      range !== undefined &&
      range.start === start &&
      range.end === end &&
      (range.size ?? this.size) === this.size;
    if (!fits) {
      const shown = text === undefined ? "none" : JSON.stringify(text.slice(0, 80));
      throw this.#error(
        answer,
        `has Content-Range ${shown}, want bytes ${start}-${end - 1}/${this.size}`,
      );
    }
    if (length !== undefined && length !== end - start) {
      throw this.#error(answer, `has ${length} bytes, want ${end - start}`);
    }
    return { skip: 0, take: end - start, isExact: true };
  }

  #noteRangeless(url: URL): void {
    const { rangelessOrigins, logger } = this.#deps;
    if (rangelessOrigins.has(url.origin)) return;
    if (rangelessOrigins.size < 1024) rangelessOrigins.add(url.origin);
    logger.warn("server ignores range requests, so whole blobs are transferred", {
      origin: url.origin,
    });
  }

  /** True if `error` is a refusal by a URL that was remembered before. */
  #dropRefused(host: RegistryHost, target: URL | undefined, error: unknown): boolean {
    if (target === undefined) return false;
    if (this.#targetAt(host) === target) this.#place = { host, target: undefined };
    return (
      error instanceof RegistryError &&
      error.status >= 400 &&
      error.status < 500 &&
      error.status !== 429
    );
  }

  #error(answer: WireResponse, problem: string): TransportError {
    const text = `Cannot ${this.#request.action}: the answer of ${shownUrl(answer.url)} ${problem}`;
    return new TransportError("data_loss", text, { sent: true });
  }
}

/** Waits until all hosts may be asked again. */
async function waitAfter(tour: HostTour, backoff: Backoff, signal?: AbortSignal): Promise<void> {
  const error = tour.failure("transient");
  if (!tour.isWorthRepeating) throw error;
  await backoff.wait(error, "always", signal);
}

interface BodyWindow {
  readonly skip: number;
  readonly take: number;
  /** True if the body should end where the window does. */
  readonly isExact: boolean;
}

async function* windowOf(
  body: AsyncIterable<Uint8Array>,
  window: BodyWindow,
  onBytes: (length: number) => void,
  fault: (problem: string) => Error,
): AsyncGenerator<Uint8Array, void, undefined> {
  let { skip, take } = window;
  for await (const piece of body) {
    onBytes(piece.length);
    const wanted = piece.subarray(skip, skip + take);
    const rest = piece.length - Math.min(skip, piece.length) - wanted.length;
    skip = Math.max(0, skip - piece.length);
    if (window.isExact && rest > 0) throw fault("is longer than it said");
    take -= wanted.length;
    if (wanted.length > 0) yield wanted;
    if (take === 0 && !window.isExact) return;
  }
  if (take > 0) throw fault(`ends ${take} bytes too early`);
}
