import { setImmediate } from "node:timers/promises";
import { type Digest, Digester, digestAlgorithm, FormatError, type IoOptions } from "@soci-ts/core";
import { createGzipScan, type EngineName, type GzipScan } from "@soci-ts/gzip";
import { type OpenedZtoc, openZtoc } from "../ztoc/decode.ts";
import { ContentCheck } from "./check-content.ts";
import { CheckpointCheck, SpanCheck } from "./check-spans.ts";
import { FirstDifference, type IndexDifference } from "./difference.ts";

/** Which ztoc, and what the layer is to be. */
export interface VerifyZtocOptions extends IoOptions {
  /** Of any builder and span size. */
  readonly ztoc: Uint8Array;
  /** What the manifest says of the layer. */
  readonly compression: "gzip" | "none" | "zstd" | undefined;
  readonly layerDigest: Digest;
  /** What the config says of it; of no account when `isQuick`. */
  readonly diffId: Digest;
  /** Checks the ztoc's structure and the span digests only, so that nothing is inflated. */
  readonly isQuick?: boolean | undefined;
  /** The inflate engine. Default: the fastest that works. */
  readonly engine?: EngineName | undefined;
  /** Told how many bytes of the blob have been worked through. */
  readonly onProgress?: ((compressedBytes: number) => void) | undefined;
}

/** What became of it. */
export interface ZtocVerdict {
  /** Undefined if the ztoc says what is so. */
  readonly difference: IndexDifference | undefined;
  /** What the ztoc says of itself; undefined if it can't be read. */
  readonly stated:
    | (Pick<OpenedZtoc, "buildTool" | "spanSizeBytes" | "entryCount" | "uncompressedSizeBytes"> & {
        readonly spanCount: number;
      })
    | undefined;
}

/** Work goes on for so long before timers and sockets get their turn. */
const TURN_MS = 15;
const PIECE_BYTES = 65_536;

/**
 * Proves a ztoc: reads the layer's blob once and holds every checkpoint, window, file entry, span digest and size against what is derived
 * from it, and the layer against its digests. Nothing is collected: memory holds the ztoc and a few pieces of the stream. After
 * a difference nothing more is inflated, but the blob is hashed to its end: if it is another one, that is the difference.
 * @param stream - the blob's bytes in pieces of any size; not read at all if the ztoc is malformed.
 * @throws AppError `unimplemented` or `resource_exhausted` if the layer is beyond what can be scanned; what the stream throws.
 */
export async function verifyZtoc(
  stream: AsyncIterable<Uint8Array>,
  options: VerifyZtocOptions,
): Promise<ZtocVerdict> {
  const first = new FirstDifference();
  const ztoc = openSound(options, first);
  if (ztoc === undefined) return { difference: first.value, stated: undefined };
  const { buildTool, spanSizeBytes, entryCount, uncompressedSizeBytes, spans } = ztoc;
  const spanCount = spans.length;
  const stated = { buildTool, spanSizeBytes, entryCount, uncompressedSizeBytes, spanCount };
  if (first.value === undefined) await readLayer(stream, ztoc, options, first);
  return { difference: first.value, stated };
}

/** The ztoc, if it can be read; notes what is wrong with its structure. */
function openSound(options: VerifyZtocOptions, first: FirstDifference): OpenedZtoc | undefined {
  let ztoc: OpenedZtoc | undefined;
  noteFormat(first, "ztoc", () => {
    ztoc = openZtoc(options.ztoc);
    // Where entries lie follows, in a full pass, from their being what the tar has.
    if (options.isQuick === true) for (const _ of ztoc.readPlacedEntries());
  });
  if (ztoc === undefined || ztoc.compression === options.compression) return ztoc;
  const want = options.compression ?? "unknown";
  first.note({ part: "ztoc", field: "compression_algorithm", want, have: ztoc.compression });
  return ztoc;
}

async function readLayer(
  stream: AsyncIterable<Uint8Array>,
  ztoc: OpenedZtoc,
  options: VerifyZtocOptions,
  first: FirstDifference,
): Promise<void> {
  const { signal, layerDigest, onProgress } = options;
  using pass = new Pass(ztoc, options, first);
  const digester = new Digester(digestAlgorithm(layerDigest));
  let sizeBytes = 0;
  let turnEnd = performance.now() + TURN_MS;
  for await (const bytes of stream) {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      signal?.throwIfAborted();
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      digester.update(piece);
      pass.push(piece);
      sizeBytes += piece.length;
      onProgress?.(sizeBytes);
      if (performance.now() < turnEnd) continue;
      await setImmediate();
      turnEnd = performance.now() + TURN_MS;
    }
  }
  signal?.throwIfAborted();
  pass.finish(sizeBytes);
  const want = digester.digest();
  if (want !== layerDigest)
    first.replace({ part: "blob", field: "digest", want, have: layerDigest });
}

/** One pass over a layer, which stops looking at the first difference. */
class Pass implements Disposable {
  readonly #ztoc: OpenedZtoc;
  readonly #first: FirstDifference;
  readonly #spans: SpanCheck;
  readonly #content: ContentCheck | undefined;
  readonly #checkpoints: CheckpointCheck;
  readonly #gzip: GzipScan | undefined;

  constructor(ztoc: OpenedZtoc, options: VerifyZtocOptions, first: FirstDifference) {
    this.#ztoc = ztoc;
    this.#first = first;
    this.#spans = new SpanCheck(ztoc, first);
    this.#checkpoints = new CheckpointCheck(ztoc, first);
    if (options.isQuick === true) return;
    const content = new ContentCheck(ztoc, options.diffId, first);
    this.#content = content;
    if (ztoc.compression !== "gzip") return;
    this.#gzip = createGzipScan({
      spanSizeBytes: ztoc.spanSizeBytes,
      // A ztoc with more than one checkpoint there has been refused, so the one that is left is to be found.
      emptyStart: "merge",
      keepsCheckpoints: false,
      // One more than there are can be found, to be named.
      maxCheckpoints: ztoc.checkpoints.length + 1,
      onOutput: (bytes) => noteFormat(first, "content", () => content.push(bytes)),
      onCheckpoint: (checkpoint) => {
        this.#checkpoints.take(checkpoint);
        this.#spans.start(checkpoint);
      },
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    });
  }

  push(bytes: Uint8Array): void {
    if (this.#first.value !== undefined) return;
    const gzip = this.#gzip;
    if (gzip === undefined) {
      noteFormat(this.#first, "content", () => this.#content?.push(bytes));
      this.#spans.startAsStated(bytes);
    } else {
      noteFormat(this.#first, "blob", () => gzip.push(bytes));
    }
    this.#spans.push(bytes);
  }

  finish(sizeBytes: number): void {
    if (this.#first.value !== undefined) return;
    const gzip = this.#gzip;
    if (gzip !== undefined) {
      noteFormat(this.#first, "blob", () => gzip.finish());
      this.#checkpoints.finish();
    }
    noteFormat(this.#first, "content", () => this.#content?.finish());
    const have = this.#ztoc.compressedSizeBytes;
    if (have !== sizeBytes) {
      const field = "compressed_archive_size";
      this.#first.note({ part: "ztoc", field, want: String(sizeBytes), have: String(have) });
    }
    this.#spans.finish();
    this.#content?.finishDigest();
  }

  [Symbol.dispose](): void {
    this.#gzip?.[Symbol.dispose]();
  }
}

/** Runs a step; what is malformed is a difference, what follows one is of no account. */
function noteFormat(first: FirstDifference, part: IndexDifference["part"], step: () => void): void {
  try {
    step();
  } catch (error) {
    if (first.value !== undefined) return;
    if (!(error instanceof FormatError)) throw error;
    const { format, offset, message } = error;
    first.note({ part, field: format, offset, want: "sound", have: message });
  }
}
