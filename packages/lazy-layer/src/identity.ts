import { createHash } from "node:crypto";
import type { Digest } from "@soci-ts/core";
import type { HeaderTable, LayerIndex } from "@soci-ts/layer-index";

/**
 * What the bytes of a cache depend on: the layer's digest, and everything in the index that decides which bytes come out of the blob:
 * spans, their digests, and the checkpoints with their windows; and on the table of headers that they were held against. 32 bytes.
 *
 * The layer's digest alone would not do. Span digests cover compressed bytes only, so a forged checkpoint makes other bytes of
 * an honest blob; if caches were shared by layer digest, whoever can push an index for one image could put bytes into every
 * other image on the machine that has the same layer.
 */
export function cacheIdentity(
  layerDigest: Digest,
  index: LayerIndex,
  headers?: HeaderTable,
): Uint8Array {
  const hash = createHash("sha256");
  const { compression, compressedSizeBytes, uncompressedSizeBytes } = index;
  hash.update(`${layerDigest} ${compression} ${compressedSizeBytes} ${uncompressedSizeBytes}\n`);
  for (const span of index.spans) {
    const { compressedStart, compressedEnd, uncompressedStart, uncompressedEnd } = span;
    hash.update(
      `${compressedStart} ${compressedEnd} ${uncompressedStart} ${uncompressedEnd} ${span.digest}\n`,
    );
  }
  for (const { compressedOffset, uncompressedOffset, bits, window } of index.checkpoints) {
    hash.update(`${compressedOffset} ${uncompressedOffset} ${bits}\n`);
    hash.update(window);
  }
  if (headers !== undefined) hash.update("headers\n").update(headers.encode());
  return hash.digest();
}
