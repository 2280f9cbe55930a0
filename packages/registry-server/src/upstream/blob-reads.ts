import { closeSync } from "node:fs";
import type { Digest } from "@soci-ts/core";
import { blobHeaders, blobResponse, requestedRange } from "../blob-answer.ts";
import {
  bytesResponse,
  emptyResponse,
  headerOf,
  type RegistryRequest,
  type RegistryResponse,
  type ResponseBody,
  verdictOf,
} from "../http.ts";
import type { ByteRange } from "../range.ts";
import { preconditionFailed } from "../spec-error.ts";
import type { Cache } from "./cache.ts";
import { MAX_FIRST_RANGE_BYTES } from "./limits.ts";
import type { LocalRegistry } from "./local.ts";
import type { Passes } from "./passes.ts";
import { again, relayed, unreachable } from "./relay.ts";
import type { OpenBlob } from "./transfer-answers.ts";
import type { SharedTransfer, Transfers } from "./transfers.ts";
import { rawRequest, readerKey, unconditional, type Visit } from "./visit.ts";

/** What reading needs. */
export interface ReadDeps {
  readonly local: LocalRegistry;
  readonly cache: Cache;
  readonly passes: Passes;
  readonly transfers: Transfers;
}

/** Reads blobs: what was pushed here, what is cached, what is on its way, and what has to be fetched, in that order. */
export class BlobReads {
  readonly #deps: ReadDeps;

  constructor(deps: ReadDeps) {
    this.#deps = deps;
  }

  /** Answers GET and HEAD of `/v2/<name>/blobs/<digest>`. */
  async handle(visit: Visit, digest: Digest): Promise<RegistryResponse> {
    const { local, passes, cache, transfers } = this.#deps;
    if (await local.has(visit, `blobs/${digest}`)) {
      return (await passes.refusal(visit)) ?? local.handle(visit);
    }
    if (cache.find(digest) !== undefined) {
      const answer = (await passes.refusal(visit, digest)) ?? (await this.#cached(visit, digest));
      if (answer !== undefined) return answer;
    }
    if (visit.request.method === "HEAD") return this.#relay(visit);
    const running = transfers.find(digest);
    if (running !== undefined) return this.#join(visit, running);
    const key = readerKey(visit);
    const wanted = { open: this.#opener(visit), first: firstRange(visit) };
    const begun = transfers.begin(digest, key, wanted);
    return begun === undefined ? this.#relay(visit) : this.#lead(visit, begun);
  }

  async #relay(visit: Visit): Promise<RegistryResponse> {
    const answer = await visit.upstream.ask(rawRequest(visit));
    this.#deps.passes.note(visit, answer.status);
    return relayed(visit, answer);
  }

  /** For the whole, and for ranges of it, whatever conditions the client has. */
  #opener(visit: Visit): OpenBlob {
    const headers = unconditional(rawRequest(visit).headers);
    return async (range) => {
      const wanted = range && { range: `bytes=${range.start}-${range.end - 1}` };
      const request = rawRequest(visit, { headers: { ...headers, ...wanted } });
      const answer = await visit.upstream.ask(request);
      this.#deps.passes.note(visit, answer.status);
      return answer;
    };
  }

  /** For the client that began a transfer. */
  async #lead(visit: Visit, { transfer }: SharedTransfer): Promise<RegistryResponse> {
    const head = await transfer.head;
    if (head.kind === "refused") return again(head.answer);
    if (head.kind === "sharing") return this.#share(visit, { transfer, key: "" }, head.sizeBytes);
    const isAsked = headerOf(visit.request, "range") === undefined && head.answer.status === 200;
    if (isAsked) return relayed(visit, head.answer);
    head.answer.close();
    return this.#relay(visit);
  }

  /** For the others. */
  async #join(visit: Visit, shared: SharedTransfer): Promise<RegistryResponse> {
    const isSame = shared.key === readerKey(visit);
    const { digest } = shared.transfer;
    if (!isSame) {
      const refusal = await this.#deps.passes.refusal(visit, digest);
      if (refusal !== undefined) return refusal;
    }
    const head = await shared.transfer.head.catch(() => undefined);
    // 416 is about the range of the client that began.
    const isOurs = head?.kind === "refused" && isSame && head.answer.status !== 416;
    if (isOurs) return again(head.answer);
    if (head?.kind === "sharing") return this.#share(visit, shared, head.sizeBytes);
    if (head === undefined && isSame) return unreachable(visit);
    return this.#relay(visit);
  }

  async #share(
    visit: Visit,
    { transfer }: SharedTransfer,
    sizeBytes: number,
  ): Promise<RegistryResponse> {
    const { digest } = transfer;
    const { records } = this.#deps.cache;
    void transfer.verified.then((isVerified) => isVerified && records.link(visit, digest));
    const answer = blobAnswer(visit.request, digest, sizeBytes, (range) => {
      const reader = transfer.reader(range);
      return reader && { kind: "stream", ...reader };
    });
    // It ended just now.
    return answer ?? (await this.#cached(visit, digest)) ?? this.#relay(visit);
  }

  async #cached(visit: Visit, digest: Digest): Promise<RegistryResponse | undefined> {
    const { cache } = this.#deps;
    const entry = cache.find(digest);
    const opened = entry && (await cache.openFile(digest));
    if (entry === undefined || opened === undefined) return undefined;
    let isUsed = false;
    const take = (range: ByteRange): ResponseBody => {
      isUsed = true;
      return { kind: "file", ...opened, ...range };
    };
    try {
      return blobAnswer(visit.request, digest, entry.sizeBytes, take);
    } finally {
      if (!isUsed) {
        closeSync(opened.descriptor);
        opened.release();
      }
    }
  }
}

/** A small range of known ends is fetched first; for any other the whole is begun at once, which tells the size. */
function firstRange({ request }: Visit): ByteRange | undefined {
  if (headerOf(request, "if-range") !== undefined) return undefined;
  const text = headerOf(request, "range") ?? "";
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/i.exec(text.trim()) ?? [];
  const range = { start: Number(first), end: Number(last) + 1 };
  const length = range.end - range.start;
  return length > 0 && length <= MAX_FIRST_RANGE_BYTES ? range : undefined;
}

/**
 * The answer to a request for a blob of known size, whole or in part.
 * @param bodyOf - gives the bytes of the range; if undefined, so is the answer.
 */
function blobAnswer(
  request: RegistryRequest,
  digest: Digest,
  sizeBytes: number,
  bodyOf: (range: ByteRange) => ResponseBody | undefined,
): RegistryResponse | undefined {
  const headers = blobHeaders(digest);
  const { ETag: etag } = headers;
  const verdict = verdictOf(request, etag);
  if (verdict === "failed") throw preconditionFailed(etag);
  if (verdict === "not modified") return { status: 304, headers };
  if (request.method === "HEAD") {
    return emptyResponse(200, { ...headers, "Content-Length": String(sizeBytes) });
  }
  if (sizeBytes === 0) return bytesResponse(200, new Uint8Array(), headers);
  const range = requestedRange(request, etag, sizeBytes);
  const body = bodyOf(range ?? { start: 0, end: sizeBytes });
  return body && blobResponse(headers, { sizeBytes, range }, body);
}
