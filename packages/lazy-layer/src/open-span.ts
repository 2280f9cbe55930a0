import { webcrypto } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { AppError, type Digest, DigestMismatchError, digestAlgorithm } from "@soci-ts/core";
import { type Checkpoint, inflateFrom } from "@soci-ts/gzip";
import type { HeaderTable, LayerIndex } from "@soci-ts/layer-index";

const SUBTLE_NAMES = { sha256: "SHA-256", sha512: "SHA-512" } as const;

/** The layer that a span belongs to. */
export interface SpanSource {
  readonly layerDigest: Digest;
  readonly index: LayerIndex;
  /** What the tar's headers have to say. */
  readonly headers?: HeaderTable | undefined;
}

/**
 * Checks a span's blob bytes against its digest. Hashes in libuv's pool, not on the thread that answers reads.
 * @throws DigestMismatchError naming layer, span and blob offset.
 */
export async function verifySpan(
  source: SpanSource,
  at: number,
  compressed: Uint8Array,
): Promise<void> {
  const span = spanOf(source, at);
  const algorithm = digestAlgorithm(span.digest);
  const hash = await webcrypto.subtle.digest(SUBTLE_NAMES[algorithm], compressed);
  const actual = `${algorithm}:${Buffer.from(hash).toString("hex")}`;
  if (actual === span.digest) return;
  const what = `span ${at} of layer ${source.layerDigest} at blob offset ${span.compressedStart}`;
  throw new DigestMismatchError(what, span.digest, actual, {
    details: { layer: source.layerDigest, span: at, offset: span.compressedStart },
  });
}

/**
 * The tar bytes of a span whose blob bytes have been verified.
 * @throws AppError `data_loss` if they can't be inflated, or the headers in them are not those of the file table: then the index does not
 *   belong to the layer.
 */
export async function inflateSpan(
  source: SpanSource,
  at: number,
  compressed: Uint8Array,
): Promise<Uint8Array> {
  const bytes = await inflate(source, at, compressed);
  const { uncompressedStart } = spanOf(source, at);
  try {
    const steps = source.headers?.verifySteps(bytes, uncompressedStart) ?? [];
    for (const _ of steps) await setImmediate();
  } catch (error) {
    throw headersError(source.layerDigest, error);
  }
  return bytes;
}

/** Says of which layer the file table is wrong. */
export function headersError(layer: Digest, error: unknown): AppError {
  const { message } = AppError.from(error);
  return new AppError("data_loss", `Cannot believe the index of layer ${layer}: ${message}`, {
    cause: error,
    details: { layer },
  });
}

async function inflate(
  source: SpanSource,
  at: number,
  compressed: Uint8Array,
): Promise<Uint8Array> {
  const { checkpoint, sizeBytes, isWhole } = inflateInput(source, at);
  if (checkpoint === undefined) return compressed.subarray(0, sizeBytes);
  try {
    return await inflateFrom(checkpoint, compressed, sizeBytes, { isWhole });
  } catch (error) {
    throw inflateError(source.layerDigest, at, spanOf(source, at).compressedStart, error);
  }
}

/** What a span's tar bytes are made by, beside its blob bytes. */
export interface InflateInput {
  /** Absent: the blob is not compressed. */
  readonly checkpoint: Checkpoint | undefined;
  /** Of the tar. */
  readonly sizeBytes: number;
  /** See `InflateOptions`. */
  readonly isWhole: boolean;
}

/** For any way to inflate a span. */
export function inflateInput(source: SpanSource, at: number): InflateInput {
  const { uncompressedStart, uncompressedEnd } = spanOf(source, at);
  const { compression, checkpoints, uncompressedSizeBytes } = source.index;
  return {
    checkpoint: compression === "none" ? undefined : checkpoints[at],
    sizeBytes: uncompressedEnd - uncompressedStart,
    // The last span with data may go on behind the tar's end; all others end at the next checkpoint, or the index lies.
    isWhole: uncompressedEnd < uncompressedSizeBytes,
  };
}

function inflateError(layer: Digest, span: number, offset: number, error: unknown): AppError {
  const { message } = AppError.from(error);
  return new AppError(
    "data_loss",
    `Cannot inflate span ${span} of layer ${layer} at blob offset ${offset}: ${message}`,
    { cause: error, details: { layer, span, offset } },
  );
}

/** @throws RangeError if there is no such span. */
export function spanOf({ index }: SpanSource, at: number): LayerIndex["spans"][number] {
  const span = index.spans[at];
  if (span === undefined) throw new RangeError(`no span ${at} of ${index.spans.length}`);
  return span;
}
