import { once } from "node:events";
import { AppError, type Digest } from "@soci-ts/core";
import { buildLayerTree, HeaderTable } from "@soci-ts/layer-index";
import { openLazyLayer } from "@soci-ts/lazy-layer";
import type { Store } from "@soci-ts/store";
import { STDIN } from "../sources.ts";
import type { Session } from "../wire.ts";
import { findFile } from "./find-file.ts";
import { openZtoc } from "./ztoc-commands.ts";

/** Bytes that are fetched, verified and written at a time. */
const READ_BYTES = 1024 * 1024;

/** Arguments of `soci ztoc cat`. */
export interface ZtocCatOptions {
  readonly digest: string;
  readonly path: string;
  readonly ref?: string;
}

/** `soci ztoc cat DIGEST PATH`: writes a file to stdout. What is fetched is kept in the store, where a mount finds it too. */
export async function ztocCat(session: Session, options: ZtocCatOptions): Promise<undefined> {
  if (session.config.json) {
    throw new AppError(
      "invalid_argument",
      "Cannot use --json: a file's bytes are no JSON document",
    );
  }
  const store = await session.store();
  const { record, index } = await openZtoc(store, options.digest);
  const file = findFile(buildLayerTree(index.entries).root, options.path);
  const source = await session.source(options.ref ?? madeFrom(store, record.digest));
  await using layer = await openLazyLayer({
    directory: await store.directory("layers"),
    layerDigest: record.layerDigest,
    index,
    headers: HeaderTable.of(index.entries),
    blob: source.openBlob({
      mediaType: record.layerMediaType,
      digest: record.layerDigest,
      size: index.compressedSizeBytes,
    }),
    logger: session.logger,
  });
  const end = file.dataOffset + file.sizeBytes;
  for (let at = file.dataOffset; at < end; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, end - at);
    const bytes = await layer.readAt(at, length, { signal: session.signal });
    if (!process.stdout.write(bytes)) await once(process.stdout, "drain");
  }
  session.logger.info("file read", { ...layer.stats() });
}

/** The image from which the newest index with this ztoc was made. */
function madeFrom(store: Store, digest: Digest): string {
  const indexes = store.listIndexes();
  const index = indexes.find(({ ztocs }) => ztocs.some((ztoc) => ztoc.digest === digest));
  if (index !== undefined && index.reference !== STDIN) return index.reference;
  throw new AppError("not_found", `Cannot tell the image of ztoc ${digest}: want --ref IMAGE`);
}
