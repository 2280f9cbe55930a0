import {
  type Digest,
  Digester,
  DigestMismatchError,
  digestAlgorithm,
  type IoOptions,
} from "@soci-ts/core";
import {
  type BuildLayerIndexOptions,
  buildLayerIndex,
  type LazyBytes,
  PackedCheckpoints,
  PackedEntries,
  ztocBytes,
} from "@soci-ts/layer-index/build";
import type { StreamOptions } from "../image-source.ts";

const PIECE_BYTES = 1_048_576;

/** Which layer, and how it is to be indexed. Plain data, which can be sent to another thread. */
export interface ScanTask {
  readonly compression: "gzip" | "none";
  readonly spanSizeBytes: number;
  readonly engine: BuildLayerIndexOptions["engine"];
  /** What the blob's digest has to be, and that of its content. */
  readonly layerDigest: Digest;
  readonly diffId: Digest;
}

/** A ztoc, whose bytes are made when they are read. */
export interface ScannedLayer {
  readonly digest: Digest;
  readonly ztoc: LazyBytes;
}

/** Opens the stream of a layer's blob; see `StreamOptions` for the room. */
export type BlobStream = (room: StreamOptions["room"]) => AsyncIterable<Uint8Array>;

/** A ztoc that a thread has made; its pieces can be read once, while it is used. */
export interface MadeZtoc {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly pieces: AsyncIterable<Uint8Array>;
}

/** What is done with a ztoc before its thread goes on to another layer. */
export type ZtocUse<T> = (ztoc: MadeZtoc) => Promise<T>;

/** What a scan needs of the thread that it runs on. */
export interface ScanOptions extends IoOptions {
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
}

/**
 * Makes the ztoc of a layer in one pass over its blob.
 * @throws DigestMismatchError if the blob or its content does not have the digest wanted; else as `buildLayerIndex` and `ztocBytes`.
 */
export async function scanLayer(
  task: ScanTask,
  stream: AsyncIterable<Uint8Array>,
  options: ScanOptions,
): Promise<ScannedLayer> {
  const { compression, spanSizeBytes, engine, layerDigest, diffId } = task;
  const entries = new PackedEntries();
  const checkpoints = new PackedCheckpoints();
  const built = await buildLayerIndex(stream, {
    compression,
    spanSizeBytes,
    engine,
    signal: options.signal,
    onProgress: options.onBytes,
    onEntry: (entry) => entries.push(entry),
    onCheckpoint: (checkpoint) => checkpoints.push(checkpoint),
    hash: {
      blobAlgorithm: digestAlgorithm(layerDigest),
      contentAlgorithm: digestAlgorithm(diffId),
    },
  });
  verify("the blob", layerDigest, built.layerDigest);
  verify("the uncompressed content (diffID)", diffId, built.diffId);
  if (built.index === undefined) throw new TypeError(`no index of a ${compression} layer`);
  const ztoc = ztocBytes({ ...built.index, entries, checkpoints });
  const digester = new Digester();
  for (const bytes of ztoc.pieces()) digester.update(bytes);
  return { digest: digester.digest(), ztoc };
}

/** A ztoc in pieces of some size, the last one shorter; each is the caller's to keep. */
export function* evenPieces(ztoc: LazyBytes): Generator<Uint8Array<ArrayBuffer>> {
  let leftBytes = ztoc.sizeBytes;
  let piece = new Uint8Array(Math.min(leftBytes, PIECE_BYTES));
  let filled = 0;
  for (const bytes of ztoc.pieces()) {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + piece.length - filled);
      piece.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < piece.length) continue;
      yield piece;
      leftBytes -= filled;
      piece = new Uint8Array(Math.min(leftBytes, PIECE_BYTES));
      filled = 0;
    }
  }
}

function verify(what: string, want: Digest, actual: Digest): void {
  if (actual !== want) throw new DigestMismatchError(what, want, actual);
}
