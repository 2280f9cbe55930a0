import { constants, gzipSync } from "node:zlib";
import { concatBytes, type Digest, sha256 } from "@soci-ts/core";
import { createGzipScan } from "@soci-ts/gzip";
import type { LayerIndex, Span } from "@soci-ts/layer-index";
import { seededBytes } from "@soci-ts/testkit";

/** A layer's blob with its index and the bytes that reads must give. */
export interface TestLayer {
  readonly blob: Uint8Array;
  readonly truth: Uint8Array;
  readonly digest: Digest;
  readonly index: LayerIndex;
}

/** Which kinds of layers {@link testLayer} makes. */
export const LAYER_KINDS = [
  "gzip",
  "gzip fast",
  "gzip members",
  "gzip stored",
  "gzip fixed",
  "none",
] as const;

/** See {@link LAYER_KINDS}. */
export type LayerKind = (typeof LAYER_KINDS)[number];

/** What `victim.ts` reads. */
export const VICTIM_LAYER: readonly [kind: LayerKind, sizeBytes: number, spanSizeBytes: number] = [
  "gzip fast",
  12_000_000,
  300_000,
];

/** A layer of half-compressible bytes; `truth` is no tar, which reading does not mind. */
export function testLayer(kind: LayerKind, sizeBytes: number, spanSizeBytes: number): TestLayer {
  const truth = seededBytes(sizeBytes, 7);
  const blob = compress(kind, truth);
  const index = kind === "none" ? plainIndex(blob, spanSizeBytes) : gzipIndex(blob, spanSizeBytes);
  return { blob, truth, digest: sha256(blob), index };
}

function compress(kind: LayerKind, bytes: Uint8Array): Uint8Array {
  switch (kind) {
    case "none":
      return bytes;
    case "gzip":
      return gzipSync(bytes);
    case "gzip fast":
      return gzipSync(bytes, { level: 1 });
    case "gzip stored":
      return gzipSync(bytes, { level: 0 });
    case "gzip fixed":
      return gzipSync(bytes, { strategy: constants.Z_FIXED, memLevel: 1 });
    case "gzip members": {
      const members: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += 70_001) {
        members.push(gzipSync(bytes.subarray(at, at + 70_001)));
      }
      return concatBytes(members);
    }
  }
}

/** A digest for where it does not matter. */
export const digestOfNothing: Digest = sha256(new Uint8Array(0));

/** The index of a gzip blob, with no entries. */
export function gzipIndex(blob: Uint8Array, spanSizeBytes: number): LayerIndex {
  using scan = createGzipScan({ spanSizeBytes, onOutput: () => {} });
  scan.push(blob);
  const { checkpoints, uncompressedSizeBytes } = scan.finish();
  const spans = checkpoints.map((checkpoint, at): Span => {
    const next = checkpoints[at + 1];
    const compressedStart = checkpoint.compressedOffset - (checkpoint.bits === 0 ? 0 : 1);
    const compressedEnd = next?.compressedOffset ?? blob.length;
    return {
      compressedStart,
      compressedEnd,
      uncompressedStart: checkpoint.uncompressedOffset,
      uncompressedEnd: next?.uncompressedOffset ?? uncompressedSizeBytes,
      digest: sha256(blob.subarray(compressedStart, compressedEnd)),
    };
  });
  return {
    compression: "gzip",
    compressedSizeBytes: blob.length,
    uncompressedSizeBytes,
    spanSizeBytes,
    entries: [],
    spans,
    checkpoints,
  };
}

/** The index of an uncompressed blob, with no entries. */
export function plainIndex(blob: Uint8Array, spanSizeBytes: number): LayerIndex {
  const spans: Span[] = [];
  for (let start = 0; start < blob.length; start += spanSizeBytes) {
    const end = Math.min(start + spanSizeBytes, blob.length);
    spans.push({
      compressedStart: start,
      compressedEnd: end,
      uncompressedStart: start,
      uncompressedEnd: end,
      digest: sha256(blob.subarray(start, end)),
    });
  }
  return {
    compression: "none",
    compressedSizeBytes: blob.length,
    uncompressedSizeBytes: blob.length,
    spanSizeBytes,
    entries: [],
    spans,
    checkpoints: [],
  };
}
