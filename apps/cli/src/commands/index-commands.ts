import { formatPlatform, MANIFEST_LIMIT_BYTES } from "@soci-ts/oci";
import type { IndexRecord } from "@soci-ts/store";
import { formatBytes, type Report, renderFacts, renderTable } from "../output.ts";
import type { Session } from "../wire.ts";
import { resolveDigest } from "./resolve-digest.ts";

/** `soci index ls`: what the store holds, newest first. */
export async function listIndexes(session: Session): Promise<Report> {
  const store = await session.store();
  const indexes = store.listIndexes();
  const rows = indexes.map((index) => [
    index.digest,
    index.reference,
    formatPlatform(index.platform),
    String(index.ztocs.length),
    formatBytes(index.ztocs.reduce((sum, ztoc) => sum + ztoc.sizeBytes, index.sizeBytes)),
    index.createdAt.toISOString(),
  ]);
  const head = ["DIGEST", "IMAGE", "PLATFORM", "ZTOCS", "SIZE", "CREATED"];
  return { json: indexes.map(indexJson), text: renderTable(head, rows) };
}

/** `soci index info DIGEST`: one index; the document of `--json` holds its manifest. */
export async function indexInfo(session: Session, text: string): Promise<Report> {
  const store = await session.store();
  const indexes = store.listIndexes();
  const digest = resolveDigest(
    "index",
    text,
    indexes.map((index) => index.digest),
  );
  const records = indexes.filter((index) => index.digest === digest);
  const bytes = await store.readBlob(digest, { maxBytes: MANIFEST_LIMIT_BYTES });
  const { parseSociIndex } = await import("@soci-ts/soci");
  const index = parseSociIndex(bytes);
  const [record] = records;
  const facts = renderFacts([
    ["digest", digest],
    ["version", String(index.version)],
    ["manifest", record?.manifestDigest ?? ""],
    ["platform", record === undefined ? "" : formatPlatform(record.platform)],
    ["size", formatBytes(bytes.length)],
    ["created", record?.createdAt.toISOString() ?? ""],
    ...records.map(({ reference }): [string, string] => ["image", reference]),
  ]);
  const ztocs = renderTable(
    ["ZTOC", "SIZE", "LAYER", "SPAN"],
    index.ztocs.map((ztoc) => [
      ztoc.descriptor.digest,
      formatBytes(ztoc.descriptor.size),
      ztoc.layerDigest,
      ztoc.spanSizeBytes === undefined ? "?" : String(ztoc.spanSizeBytes),
    ]),
  );
  const manifest: unknown = JSON.parse(Buffer.from(bytes).toString());
  return {
    json: {
      ...(record && indexJson(record)),
      references: records.map((r) => r.reference),
      manifest,
    },
    text: `${facts}\n\n${ztocs}`,
  };
}

/** `soci index rm DIGEST...`: removes indexes, and the ztocs that no other index uses. All names are checked before any is removed. */
export async function removeIndexes(session: Session, texts: readonly string[]): Promise<Report> {
  const store = await session.store();
  const known = store.listIndexes().map(({ digest }) => digest);
  const digests = [...new Set(texts.map((text) => resolveDigest("index", text, known)))];
  for (const digest of digests) {
    session.signal.throwIfAborted();
    await store.removeIndex(digest);
  }
  return { json: { removed: digests }, text: digests.join("\n") };
}

function indexJson(index: IndexRecord): Record<string, unknown> {
  return {
    digest: index.digest,
    manifest: index.manifestDigest,
    reference: index.reference,
    platform: formatPlatform(index.platform),
    artifactType: index.artifactType,
    sizeBytes: index.sizeBytes,
    createdAt: index.createdAt.toISOString(),
    ztocs: index.ztocs.map((ztoc) => ({
      digest: ztoc.digest,
      sizeBytes: ztoc.sizeBytes,
      layer: ztoc.layerDigest,
      layerMediaType: ztoc.layerMediaType,
      spanSizeBytes: ztoc.spanSizeBytes,
    })),
  };
}
