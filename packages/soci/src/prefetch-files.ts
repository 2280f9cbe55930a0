import { posix } from "node:path";
import { type ByteString, byteStringFromText, type Digest } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { decodeZtoc, type LayerIndex } from "@soci-ts/layer-index/ztoc";
import type { Store } from "@soci-ts/store";
import { MAX_ZTOC_BYTES } from "./limits.ts";
import { encodePrefetchList } from "./prefetch-list.ts";
import type { PrefetchListEntry, SociIndexParts } from "./soci-index.ts";

/** The prefetch lists of an image, and which of the files were in no layer. */
export interface PrefetchLists {
  /** In the order of the image's layers. */
  readonly prefetchLists: readonly PrefetchListEntry[];
  /** As they were given. */
  readonly filesNotFound: readonly string[];
}

/**
 * Makes the lists of the spans that hold these files, and puts them into the store, which holds them. A file is looked for from the topmost
 * indexed layer down, by exactly its name in the tar: no links are followed, and `./usr/bin/x` in a tar is not `usr/bin/x`. Each ztoc is read
 * once more, and none below the last file.
 */
export async function makePrefetchLists(
  store: Store,
  ztocs: SociIndexParts["ztocs"],
  files: readonly string[],
): Promise<PrefetchLists> {
  const wanted = new Map(files.map((file) => [nameInTar(file), file]));
  const found = new Map<Digest, readonly SpanRange[]>();
  const seen = new Set<Digest>();
  for (const { digest, layer } of [...ztocs].reverse()) {
    if (wanted.size === 0 || seen.has(layer.digest)) continue;
    seen.add(layer.digest);
    const index = decodeZtoc(await store.readBlob(digest, { maxBytes: MAX_ZTOC_BYTES }));
    const ranges = takeFiles(index, wanted);
    if (ranges.length > 0) found.set(layer.digest, ranges);
  }
  const prefetchLists: PrefetchListEntry[] = [];
  for (const { layer } of ztocs) {
    const ranges = found.get(layer.digest);
    if (ranges === undefined) continue;
    const written = await store.writeBlob(encodePrefetchList(ranges));
    prefetchLists.push({ ...written, layerDigest: layer.digest });
  }
  return { prefetchLists, filesNotFound: [...wanted.values()] };
}

/** The spans of those files that the layer has; they are wanted no more. */
function takeFiles(index: LayerIndex, wanted: Map<ByteString, string>): SpanRange[] {
  const ranges: SpanRange[] = [];
  for (const { name, dataOffset, sizeBytes } of index.entries) {
    if (!wanted.delete(name)) continue;
    const startSpan = spanAt(index, dataOffset);
    // As the reference counts: the byte after the file, so one span too many where a file ends with its span.
    const endSpan = Math.max(startSpan, spanAt(index, dataOffset + sizeBytes));
    ranges.push({ startSpan, endSpan });
  }
  return ranges;
}

function spanAt({ compression, spans, spanSizeBytes }: LayerIndex, offset: number): number {
  if (compression === "none") return Math.floor(offset / spanSizeBytes);
  return Math.max(
    0,
    spans.findLastIndex((span) => span.uncompressedStart <= offset),
  );
}

/** `/usr/lib/../bin/x` is `usr/bin/x` in a tar. */
function nameInTar(file: string): ByteString {
  return byteStringFromText(posix.normalize(`/${file}`).replace(/^\/|\/$/g, ""));
}
