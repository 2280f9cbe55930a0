import { AppError, checkRange, concatBytes, type IoOptions } from "@soci-ts/core";
import { buildLayerIndex, type LayerCompression } from "@soci-ts/layer-index";
import type { RangeBlob } from "./types.ts";

/** What a {@link restreamBlob} reads from. */
export interface RestreamOptions {
  readonly compression: LayerCompression;
  /** Length of the tar. */
  readonly sizeBytes: number;
  /** Opens the layer's blob from its start. */
  readonly open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
}

/**
 * The uncompressed tar of a layer that can only be read from its start: every range is reached by inflating all that lies before it. For
 * mending the odd chunk that has gone bad on the disk. Holds a whole range in memory.
 */
export function restreamBlob(options: RestreamOptions): RangeBlob {
  return {
    size: options.sizeBytes,
    stream: (start, end, io) => restream(options, start, end, io),
    async readAt(offset, length, io) {
      checkRange(options.sizeBytes, offset, length);
      const pieces: Uint8Array[] = [];
      for await (const piece of restream(options, offset, offset + length, io)) pieces.push(piece);
      return concatBytes(pieces);
    },
  };
}

async function* restream(
  { compression, open }: RestreamOptions,
  start: number,
  end: number,
  { signal }: IoOptions = {},
): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const pieces: Uint8Array[] = [];
  let position = 0;
  const take = (bytes: Uint8Array): void => {
    const from = Math.max(start - position, 0);
    const to = Math.min(end - position, bytes.length);
    // A copy: the bytes are only lent.
    if (from < to) pieces.push(Uint8Array.from(bytes.subarray(from, to)));
    position += bytes.length;
    if (position >= end) stop.abort(new AppError("aborted", "All that is wanted is there"));
  };
  try {
    await buildLayerIndex(open(stop.signal), {
      compression,
      // No checkpoints: nobody looks at the index.
      spanSizeBytes: Number.MAX_SAFE_INTEGER,
      emptyStart: "merge",
      signal: stop.signal,
      onOutput: take,
    });
  } catch (error) {
    if (position < end) throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
  signal?.throwIfAborted();
  yield* pieces;
}
