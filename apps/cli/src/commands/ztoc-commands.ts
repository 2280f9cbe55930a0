import { displayByteString } from "@soci-ts/core";
import type { LayerIndex } from "@soci-ts/layer-index";
import type { Store, ZtocRecord } from "@soci-ts/store";
import { formatBytes, type Report, renderFacts, renderTable } from "../output.ts";
import type { Session } from "../wire.ts";
import { resolveDigest } from "./resolve-digest.ts";

/** A ztoc of the store, decoded. */
export interface OpenedZtoc {
  readonly record: ZtocRecord;
  readonly index: LayerIndex & { readonly buildTool: string };
}

/** `soci ztoc ls`: every ztoc of the store once. */
export async function listZtocs(session: Session): Promise<Report> {
  const store = await session.store();
  const ztocs = store.listZtocs();
  const rows = ztocs.map((ztoc) => [
    ztoc.digest,
    formatBytes(ztoc.sizeBytes),
    ztoc.layerDigest,
    String(ztoc.spanSizeBytes),
  ]);
  return {
    json: ztocs.map(recordJson),
    text: renderTable(["DIGEST", "SIZE", "LAYER", "SPAN"], rows),
  };
}

/** `soci ztoc info DIGEST`: spans and files of a layer. */
export async function ztocInfo(session: Session, text: string): Promise<Report> {
  const { record, index } = await openZtoc(await session.store(), text);
  const files = fileRows(index);
  const facts = renderFacts([
    ["digest", record.digest],
    ["size", formatBytes(record.sizeBytes)],
    ["build tool", index.buildTool],
    ["layer", record.layerDigest],
    ["media type", record.layerMediaType],
    ["compressed", formatBytes(index.compressedSizeBytes)],
    ["uncompressed", formatBytes(index.uncompressedSizeBytes)],
    ["span size", String(index.spanSizeBytes)],
    ["spans", String(index.spans.length)],
    ["files", String(files.length)],
  ]);
  const table = renderTable(
    ["TYPE", "MODE", "OWNER", "SIZE", "SPANS", "NAME"],
    files.map((file) => [
      file.type,
      file.mode,
      `${file.uid}:${file.gid}`,
      String(file.sizeBytes),
      file.startSpan === undefined ? "-" : `${file.startSpan}-${file.endSpan}`,
      file.linkname === undefined ? file.name : `${file.name} -> ${file.linkname}`,
    ]),
  );
  return {
    json: {
      ...recordJson(record),
      buildTool: index.buildTool,
      compression: index.compression,
      compressedSizeBytes: index.compressedSizeBytes,
      uncompressedSizeBytes: index.uncompressedSizeBytes,
      spans: index.spans,
      files,
    },
    text: `${facts}\n\n${table}`,
  };
}

/** The ztoc that `text` means, read from the store, verified and decoded. */
export async function openZtoc(store: Store, text: string): Promise<OpenedZtoc> {
  const ztocs = store.listZtocs();
  const digest = resolveDigest(
    "ztoc",
    text,
    ztocs.map((ztoc) => ztoc.digest),
  );
  const record = ztocs.find((ztoc) => ztoc.digest === digest) as ZtocRecord;
  const { decodeZtoc } = await import("@soci-ts/layer-index/ztoc");
  return { record, index: decodeZtoc(await store.readBlob(digest)) };
}

interface FileRow {
  readonly name: string;
  readonly type: string;
  /** Octal. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly offset: number;
  readonly linkname?: string;
  /** First and last span that hold the file's bytes; absent if it has none. */
  readonly startSpan?: number;
  readonly endSpan?: number;
}

/** Entries come in order of their offsets, so one walk over the spans finds them all. */
function fileRows(index: LayerIndex): FileRow[] {
  const { spans } = index;
  let at = 0;
  return index.entries.map((entry) => {
    const end = entry.dataOffset + entry.sizeBytes;
    while (at < spans.length - 1 && (spans[at]?.uncompressedEnd ?? 0) <= entry.dataOffset) at += 1;
    let last = at;
    while (last < spans.length - 1 && (spans[last]?.uncompressedEnd ?? 0) < end) last += 1;
    return {
      name: displayByteString(entry.name),
      type: entry.type,
      mode: entry.mode.toString(8).padStart(4, "0"),
      uid: entry.uid,
      gid: entry.gid,
      sizeBytes: entry.sizeBytes,
      offset: entry.dataOffset,
      ...(entry.linkname === "" ? {} : { linkname: displayByteString(entry.linkname) }),
      ...(entry.sizeBytes === 0 ? {} : { startSpan: at, endSpan: last }),
    };
  });
}

function recordJson(record: ZtocRecord): Record<string, unknown> {
  return {
    digest: record.digest,
    sizeBytes: record.sizeBytes,
    layer: record.layerDigest,
    layerMediaType: record.layerMediaType,
    spanSizeBytes: record.spanSizeBytes,
  };
}
