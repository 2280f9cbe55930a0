import { AppError, type IoOptions } from "@soci-ts/core";
import { inflateRest } from "@soci-ts/gzip";
import { type SpanSource, verifySpan } from "./open-span.ts";
import type { RangeBlob } from "./types.ts";

/** What may follow a tar: tar(1) pads to 10 KiB, and whoever appends something appends little. */
const MAX_TAIL_BYTES = 16 * 2 ** 20;

/**
 * The bytes behind a layer's tar. No file's data lies there and no read comes there, so they are not in the cache; the diffID covers them all the same.
 * @returns `undefined` if they are more than any tool writes.
 * @throws DigestMismatchError if the blob's bytes are not those of the index's digests; what reading the blob throws; FormatError if they can't be inflated.
 */
export async function fetchTail(
  source: SpanSource & { readonly blob: RangeBlob },
  { signal }: IoOptions,
): Promise<Uint8Array | undefined> {
  const { index, blob } = source;
  const first = index.spans.findLastIndex((span) => span.uncompressedStart < span.uncompressedEnd);
  const span = index.spans[first];
  if (span === undefined) return undefined;
  const { compressedStart: start, uncompressedStart, uncompressedEnd } = span;
  const sizeBytes = uncompressedEnd - uncompressedStart;
  if (blob.size - start > sizeBytes + MAX_TAIL_BYTES) return undefined;
  const bytes = await blob.readAt(start, blob.size - start, { signal });
  for (let at = first; at < index.spans.length; at += 1) {
    const { compressedStart, compressedEnd } = index.spans[at] ?? span;
    await verifySpan(source, at, bytes.subarray(compressedStart - start, compressedEnd - start));
  }
  const checkpoint = index.checkpoints[first];
  if (index.compression === "none" || checkpoint === undefined) return bytes.subarray(sizeBytes);
  try {
    const rest = await inflateRest(checkpoint, bytes, sizeBytes + MAX_TAIL_BYTES);
    return rest.subarray(sizeBytes);
  } catch (error) {
    if (AppError.from(error).code === "resource_exhausted") return undefined;
    throw error;
  }
}
