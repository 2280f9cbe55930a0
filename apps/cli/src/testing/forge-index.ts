import { type ByteString, type Digest, sha256 } from "@soci-ts/core";
import { decodeZtoc, encodeZtoc, type LayerIndex } from "@soci-ts/layer-index";
import { openStore } from "@soci-ts/store";

/** A name that does harm where it is not escaped: markup, a bidi override, NUL, an escape sequence. */
export const HOSTILE_NAME =
  `</text><script>alert(1)</script>"'&\u202egnp.exe\0\u001b[31m.png` as const;

/**
 * Puts in place of the index `digest`, in the store at `root`, one whose first ztoc says something else of its layer.
 * @returns the new index's digest.
 */
export async function forgeIndex(
  root: string,
  digest: string,
  change: (index: LayerIndex) => LayerIndex,
): Promise<Digest> {
  await using store = await openStore(root);
  const record = store.listIndexes().find((index) => index.digest === digest);
  const [first, ...others] = record?.ztocs ?? [];
  if (record === undefined || first === undefined) throw new Error(`no index ${digest}`);
  const { buildTool, ...index } = decodeZtoc(await store.readBlob(first.digest));
  const ztoc = await store.writeBlob(encodeZtoc(change(index), { buildTool }));
  const text = Buffer.from(await store.readBlob(record.digest)).toString();
  const manifest = JSON.parse(text) as { layers: { digest: string; size: number }[] };
  Object.assign(manifest.layers[0] ?? {}, { digest: ztoc.digest, size: ztoc.sizeBytes });
  const bytes = Buffer.from(JSON.stringify(manifest));
  await store.writeBlob(bytes);
  await store.addIndex({
    ...record,
    digest: sha256(bytes),
    sizeBytes: bytes.length,
    createdAt: new Date(),
    ztocs: [{ ...first, digest: ztoc.digest, sizeBytes: ztoc.sizeBytes }, ...others],
  });
  await store.removeIndex(record.digest);
  return sha256(bytes);
}

/** The index with another name for its `at`th file. */
export function renamed(index: LayerIndex, at: number, name: string): LayerIndex {
  const bytes = Buffer.from(name, "utf8").toString("latin1") as ByteString;
  const entries = index.entries.map((entry, n) => (n === at ? { ...entry, name: bytes } : entry));
  return { ...index, entries };
}
