import { setImmediate } from "node:timers/promises";
import { AppError, type IoOptions } from "@soci-ts/core";
import type { Checkpoint, EngineName } from "@soci-ts/gzip";
import type { TarEntry } from "@soci-ts/tar";
import { GzipReader } from "./gzip-reader.ts";
import { LayerHasher, type LayerHashOptions } from "./layer-hasher.ts";
import type { LayerReader, LayerReaderOptions } from "./layer-reader.ts";
import { DEFAULT_LAYER_INDEX_LIMITS, type LayerIndexLimits } from "./limits.ts";
import { PlainReader } from "./plain-reader.ts";
import { TarOutput } from "./tar-output.ts";
import type { BuiltLayer, LayerCompression } from "./types.ts";

/** How to build the index of a layer. */
export interface BuildLayerIndexOptions extends IoOptions {
  readonly compression: LayerCompression;
  /** Least distance of two checkpoints, in bytes of output; most layers are indexed with `DEFAULT_SPAN_SIZE_BYTES`. */
  readonly spanSizeBytes: number;
  /** The inflate engine for gzip layers; both give the same index. Default: the fastest that works. */
  readonly engine?: EngineName | undefined;
  /**
   * What to do with a gzip layer that starts with an empty block or member, which no reference reader could use as the
   * reference builder would index it. `refuse` (default) throws `unimplemented`; `merge` leaves out the checkpoints that are in
   * the way, which is a sound index too: for layers that are indexed where they are read.
   */
  readonly emptyStart?: "refuse" | "merge" | undefined;
  /** Takes the uncompressed bytes in order; they are valid only during the call. What it throws ends the build. */
  readonly onOutput?: ((bytes: Uint8Array) => void) | undefined;
  /** Takes each entry, in order; `entries` of the result are then empty. */
  readonly onEntry?: ((entry: TarEntry) => void) | undefined;
  /** Takes each checkpoint, in order; `checkpoints` of the result are then empty. */
  readonly onCheckpoint?: ((checkpoint: Checkpoint) => void) | undefined;
  /** Told how many bytes of the blob have been worked through. */
  readonly onProgress?: ((compressedBytes: number) => void) | undefined;
  /** How the digests are computed. */
  readonly hash?: LayerHashOptions | undefined;
  /** Default for each: {@link DEFAULT_LAYER_INDEX_LIMITS}. */
  readonly limits?: Partial<LayerIndexLimits> | undefined;
}

/** Work goes on for so long before timers and sockets get their turn. */
const TURN_MS = 15;

/**
 * Reads a layer's blob once and makes all that is to be known of it: digests of both sides, file table, checkpoints, and span
 * digests. CPU-bound on the calling thread, which it gives back every {@link TURN_MS} ms or so; memory holds the result (32 KiB for each
 * gzip span, some 500 bytes for each entry), and a few pieces of the stream.
 * @param stream - the blob's bytes in pieces of any size; closed on failure.
 * @throws FormatError if the blob is not what `compression` says, ends early, has junk behind its end, or holds no sound tar. AppError
 * `unimplemented` for a sound layer that is not supported (sparse files, say); `resource_exhausted` if a limit is exceeded;
 * `invalid_argument` for a span size that is no positive integer. The signal's reason on abort.
 */
export async function buildLayerIndex(
  stream: AsyncIterable<Uint8Array>,
  options: BuildLayerIndexOptions,
): Promise<BuiltLayer> {
  const { signal, onProgress } = options;
  const limits: LayerIndexLimits = { ...DEFAULT_LAYER_INDEX_LIMITS, ...options.limits };
  const hasher = new LayerHasher(options.hash);
  const output = new TarOutput({
    limits,
    hasher,
    onOutput: options.onOutput,
    onEntry: options.onEntry,
  });
  using reader = await createReader(output, { ...options, limits, hasher });
  let compressedSizeBytes = 0;
  let turnEnd = performance.now() + TURN_MS;
  for await (const bytes of stream) {
    for (let at = 0; at < bytes.length; at += reader.pieceBytes) {
      signal?.throwIfAborted();
      const piece = bytes.subarray(at, at + reader.pieceBytes);
      reader.push(piece);
      compressedSizeBytes += piece.length;
      onProgress?.(compressedSizeBytes);
      if (performance.now() < turnEnd) continue;
      await setImmediate();
      turnEnd = performance.now() + TURN_MS;
    }
  }
  signal?.throwIfAborted();
  reader.finish();
  const { entries, uncompressedSizeBytes } = output.finish();
  const { layerDigest, diffId, spans } = hasher.finish();
  const sizes = { compressedSizeBytes, uncompressedSizeBytes };
  const layout = reader.layout(sizes, spans);
  return {
    index: layout && { ...layout, ...sizes, entries },
    entries,
    ...sizes,
    layerDigest,
    diffId,
  };
}

async function createReader(
  output: TarOutput,
  options: BuildLayerIndexOptions & Pick<LayerReaderOptions, "limits" | "hasher">,
): Promise<LayerReader> {
  const { spanSizeBytes } = options;
  if (!Number.isSafeInteger(spanSizeBytes) || spanSizeBytes < 1) {
    const state = `the span size is ${spanSizeBytes}, want a positive integer`;
    throw new AppError("invalid_argument", `Cannot index the layer: ${state}`);
  }
  const readerOptions: LayerReaderOptions = {
    spanSizeBytes,
    engine: options.engine,
    emptyStart: options.emptyStart ?? "refuse",
    limits: options.limits,
    hasher: options.hasher,
    onCheckpoint: options.onCheckpoint,
  };
  switch (options.compression) {
    case "gzip":
      return new GzipReader(output, readerOptions);
    case "none":
      return new PlainReader(output, readerOptions);
    case "zstd": {
      // Loaded when it is needed: threads that index gzip layers start sooner without it.
      const { ZstdReader } = await import("./zstd/reader.ts");
      return new ZstdReader(output, readerOptions);
    }
  }
}
