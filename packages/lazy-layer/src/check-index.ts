import { AppError, type Digest, FormatError } from "@soci-ts/core";
import { WINDOW_BYTES } from "@soci-ts/gzip";
import type { LayerIndex, Span } from "@soci-ts/layer-index";
import type { LayerLimits } from "./limits.ts";

/**
 * Checks that an index hangs together, fits its blob and keeps to the limits, so that whatever is read by it later stays in bounds.
 * @throws FormatError naming the span that does not fit; AppError `resource_exhausted` if a span or the layer is too large.
 */
export function checkIndex(
  index: LayerIndex,
  blobSizeBytes: number,
  layerDigest: Digest,
  limits: LayerLimits,
): void {
  const fault = (span: number, state: string): FormatError =>
    new FormatError(`index of layer ${layerDigest}`, span, `span ${span}: ${state}`);
  if (index.compressedSizeBytes !== blobSizeBytes) {
    throw fault(0, `it is of a blob of ${index.compressedSizeBytes} bytes, want ${blobSizeBytes}`);
  }
  if (index.compression === "gzip" && index.checkpoints.length !== index.spans.length) {
    throw fault(0, `${index.checkpoints.length} checkpoints, want ${index.spans.length}`);
  }
  if (index.uncompressedSizeBytes > limits.maxLayerBytes) {
    throw tooLarge(layerDigest, "it", index.uncompressedSizeBytes, limits.maxLayerBytes);
  }
  let previous: Span | undefined;
  for (const [at, span] of index.spans.entries()) {
    const state = faultOf(index, at, span, previous);
    if (state !== undefined) throw fault(at, state);
    const sizeBytes = spanMemory(span);
    if (sizeBytes > limits.maxSpanBytes) {
      throw tooLarge(layerDigest, `its span ${at}`, sizeBytes, limits.maxSpanBytes);
    }
    previous = span;
  }
  const end = previous?.uncompressedEnd ?? 0;
  if (end !== index.uncompressedSizeBytes) {
    throw fault(index.spans.length, `the tar ends at ${index.uncompressedSizeBytes}, want ${end}`);
  }
}

/** The larger of a span's two sizes. */
export function spanMemory(span: Span): number {
  return Math.max(
    span.compressedEnd - span.compressedStart,
    span.uncompressedEnd - span.uncompressedStart,
  );
}

function faultOf(
  index: LayerIndex,
  at: number,
  span: Span,
  previous: Span | undefined,
): string | undefined {
  const { compressedStart, compressedEnd, uncompressedStart, uncompressedEnd } = span;
  const numbers = [compressedStart, compressedEnd, uncompressedStart, uncompressedEnd];
  if (!numbers.every((it) => Number.isSafeInteger(it) && it >= 0)) return "an offset is no number";
  if (compressedEnd < compressedStart || compressedEnd > index.compressedSizeBytes) {
    return `blob range ${compressedStart} to ${compressedEnd}, want it inside the blob`;
  }
  if (
    uncompressedEnd < uncompressedStart ||
    uncompressedStart !== (previous?.uncompressedEnd ?? 0)
  ) {
    return `tar range ${uncompressedStart} to ${uncompressedEnd}, want the next one`;
  }
  // What lies behind the tar's end is never read.
  if (uncompressedStart === uncompressedEnd) return undefined;
  return index.compression === "none" ? plainFault(index, span) : gzipFault(index, at, previous);
}

/** The blob is the tar: same offsets; the blob may go on after the tar's end. */
function plainFault(index: LayerIndex, span: Span): string | undefined {
  const isEnd = span.uncompressedEnd === index.uncompressedSizeBytes;
  const fits =
    span.compressedStart === span.uncompressedStart &&
    (span.compressedEnd === span.uncompressedEnd || isEnd) &&
    span.compressedEnd >= span.uncompressedEnd;
  return fits ? undefined : "its blob range is not its tar range";
}

function gzipFault(index: LayerIndex, at: number, previous: Span | undefined): string | undefined {
  const { compressedStart, uncompressedStart } = index.spans[at] ?? {};
  if (compressedStart === undefined) return "it is absent";
  const shared = (previous?.compressedEnd ?? compressedStart) - compressedStart;
  if (shared !== 0 && shared !== 1) return "its blob range does not follow the one before";
  const checkpoint = index.checkpoints[at];
  const fits =
    checkpoint !== undefined &&
    checkpoint.window.length === WINDOW_BYTES &&
    checkpoint.uncompressedOffset === uncompressedStart &&
    checkpoint.compressedOffset - (checkpoint.bits === 0 ? 0 : 1) === compressedStart;
  return fits ? undefined : "its checkpoint lies elsewhere";
}

function tooLarge(layer: Digest, what: string, sizeBytes: number, limit: number): AppError {
  return new AppError(
    "resource_exhausted",
    `Cannot read layer ${layer} lazily: ${what} has ${sizeBytes} bytes, want at most ${limit}`,
  );
}
