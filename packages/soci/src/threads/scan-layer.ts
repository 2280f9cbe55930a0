import {
  type Digest,
  DigestMismatchError,
  digestAlgorithm,
  type IoOptions,
  sha256,
} from "@soci-ts/core";
import {
  type BuildLayerIndexOptions,
  buildLayerIndex,
  encodeZtoc,
  PackedEntries,
} from "@soci-ts/layer-index/build";

/** Which layer, and how it is to be indexed. Plain data, which can be sent to another thread. */
export interface ScanTask {
  readonly compression: "gzip" | "none";
  readonly spanSizeBytes: number;
  readonly engine: BuildLayerIndexOptions["engine"];
  /** What the blob's digest has to be, and that of its content. */
  readonly layerDigest: Digest;
  readonly diffId: Digest;
}

/** A ztoc's bytes and their digest. */
export interface ScannedLayer {
  readonly ztoc: Uint8Array;
  readonly digest: Digest;
}

/** What a scan needs of the thread that it runs on. */
export interface ScanOptions extends IoOptions {
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
}

/**
 * Makes the ztoc of a layer in one pass over its blob.
 * @throws DigestMismatchError if the blob or its content does not have the digest wanted; else as `buildLayerIndex` and `encodeZtoc`.
 */
export async function scanLayer(
  task: ScanTask,
  stream: AsyncIterable<Uint8Array>,
  options: ScanOptions,
): Promise<ScannedLayer> {
  const { compression, spanSizeBytes, engine, layerDigest, diffId } = task;
  const entries = new PackedEntries();
  const built = await buildLayerIndex(stream, {
    compression,
    spanSizeBytes,
    engine,
    signal: options.signal,
    onProgress: options.onBytes,
    onEntry: (entry) => entries.push(entry),
    hash: {
      blobAlgorithm: digestAlgorithm(layerDigest),
      contentAlgorithm: digestAlgorithm(diffId),
    },
  });
  verify("the blob", layerDigest, built.layerDigest);
  verify("the uncompressed content (diffID)", diffId, built.diffId);
  if (built.index === undefined) throw new TypeError(`no index of a ${compression} layer`);
  const ztoc = encodeZtoc({ ...built.index, entries });
  return { ztoc, digest: sha256(ztoc) };
}

function verify(what: string, want: Digest, actual: Digest): void {
  if (actual !== want) throw new DigestMismatchError(what, want, actual);
}
