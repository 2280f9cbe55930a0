import type { Digest } from "@soci-ts/core";
import { EMPTY_CONFIG, EMPTY_CONFIG_DIGEST } from "@soci-ts/oci";
import type { Store } from "@soci-ts/store";
import type { CopySource } from "./copy-image.ts";
import type { ImageTree } from "./image-tree.ts";
import type { SociIndexParts } from "./soci-index.ts";
import { storedBlob } from "./stored-blob.ts";

/** What a conversion made, over what the source has. */
export interface ConvertedParts {
  readonly source: ImageTree;
  /** Where the parts of the SOCI indexes are. */
  readonly store: Store;
  /** New manifests by digest. */
  readonly documents: ReadonlyMap<Digest, Uint8Array>;
  readonly indexes: readonly SociIndexParts[];
}

/** The converted image to copy from: what was made comes first, all else is the source's. */
export function convertedSource(parts: ConvertedParts): CopySource {
  const { source, store, documents } = parts;
  const made = new Set<Digest>(
    parts.indexes
      .flatMap(({ ztocs, prefetchLists = [] }) => [...ztocs, ...prefetchLists])
      .map(({ digest }) => digest),
  );
  return {
    readManifest: async (entry, options) =>
      documents.get(entry.digest) ?? source.readManifest(entry, options),
    openContent(descriptor, options) {
      const { digest, size } = descriptor;
      if (digest === EMPTY_CONFIG_DIGEST) return { content: EMPTY_CONFIG };
      if (made.has(digest)) return { content: storedBlob(store, digest) };
      const blob = source.openBlob(descriptor);
      return {
        content: () => blob.stream(0, size, options),
        mountFrom: source.repository,
      };
    },
  };
}
