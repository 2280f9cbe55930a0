import { type ByteString, byteStringFromText, compareByteStrings } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import type { EntrySequence } from "../packed-entries.ts";
import { type FlatOffset, FlatWriter, type LazyBytes } from "./flat-writer.ts";
import { formatModTime } from "./mod-time.ts";
import { ALGORITHM_GZIP, COMPRESSION_INFO, FILE, TOC, XATTR, ZTOC, ZTOC_VERSION } from "./slots.ts";

/** What a ztoc is made of, field by field; nothing of it is checked. */
export interface ZtocContent {
  readonly buildTool: string;
  readonly compressedSizeBytes: number;
  readonly uncompressedSizeBytes: number;
  readonly entries: EntrySequence;
  /** Told of each entry, the last one first, with the one behind it; what it throws ends the writing. */
  readonly onEntry?: (entry: TarEntry, next: TarEntry | undefined) => void;
  readonly algorithm: number;
  readonly maxSpanId: number;
  readonly spanDigests: readonly string[];
  readonly checkpoints: LazyBytes;
}

/**
 * Writes a ztoc. A FlatBuffer is written from its end to its start, so the order of all calls below decides the bytes; it is
 * that of the reference builder (`soci-format.md` §2.2). Checkpoints are read when the bytes are.
 */
export function writeZtoc(ztoc: ZtocContent): LazyBytes {
  const writer = new FlatWriter();
  const version = writer.string(ZTOC_VERSION);
  const buildTool = writer.string(byteStringFromText(ztoc.buildTool));
  const toc = addToc(writer, ztoc);
  const compressionInfo = addCompressionInfo(writer, ztoc);
  writer.startTable(ZTOC.fieldCount);
  writer.offset(ZTOC.version, version);
  writer.offset(ZTOC.buildTool, buildTool);
  writer.offset(ZTOC.toc, toc);
  writer.int64(ZTOC.compressedSize, ztoc.compressedSizeBytes);
  writer.int64(ZTOC.uncompressedSize, ztoc.uncompressedSizeBytes);
  writer.offset(ZTOC.compressionInfo, compressionInfo);
  writer.finish(writer.endTable());
  return writer;
}

/** Entries that are written before the memory of those behind them is let go. */
const FORGET_EVERY = 1024;

function addToc(writer: FlatWriter, { entries, onEntry }: ZtocContent): FlatOffset {
  const files = new Array<FlatOffset>(entries.length);
  let next: TarEntry | undefined;
  for (let at = entries.length - 1; at >= 0; at -= 1) {
    const entry = entries.at(at) as TarEntry;
    onEntry?.(entry, next);
    files[at] = addFile(writer, entry);
    if (at % FORGET_EVERY === 0) entries.forget?.(at);
    next = entry;
  }
  const metadata = writer.offsets(files);
  writer.startTable(TOC.fieldCount);
  writer.offset(TOC.metadata, metadata);
  return writer.endTable();
}

function addFile(writer: FlatWriter, entry: TarEntry): FlatOffset {
  const name = writer.string(entry.name);
  const type = writer.string(entry.type);
  const linkname = writer.string(entry.linkname);
  const uname = writer.string(entry.uname);
  const gname = writer.string(entry.gname);
  const modTime = writer.string(
    formatModTime({ seconds: entry.mtimeSec, nanoseconds: entry.mtimeNsec }),
  );
  const xattrs = addXattrs(writer, entry.paxRecords);
  writer.startTable(FILE.fieldCount);
  writer.offset(FILE.name, name);
  writer.offset(FILE.type, type);
  writer.int64(FILE.uncompressedOffset, entry.dataOffset);
  writer.int64(FILE.uncompressedSize, entry.sizeBytes);
  writer.offset(FILE.linkname, linkname);
  writer.int64(FILE.mode, entry.mode);
  writer.int32(FILE.uid, entry.uid);
  writer.int32(FILE.gid, entry.gid);
  writer.offset(FILE.uname, uname);
  writer.offset(FILE.gname, gname);
  writer.offset(FILE.modTime, modTime);
  writer.int64(FILE.devmajor, entry.devmajor);
  writer.int64(FILE.devminor, entry.devminor);
  writer.offset(FILE.xattrs, xattrs);
  return writer.endTable();
}

function addXattrs(writer: FlatWriter, records: ReadonlyMap<ByteString, ByteString>): FlatOffset {
  if (records.size === 0) return writer.offsets([]);
  const sorted = [...records].sort(([a], [b]) => compareByteStrings(a, b));
  const tables = sorted.map(([key, value]) => {
    const keyOffset = writer.string(key);
    const valueOffset = writer.string(value);
    writer.startTable(XATTR.fieldCount);
    writer.offset(XATTR.key, keyOffset);
    writer.offset(XATTR.value, valueOffset);
    return writer.endTable();
  });
  return writer.offsets(tables);
}

function addCompressionInfo(writer: FlatWriter, ztoc: ZtocContent): FlatOffset {
  const checkpoints = writer.blob(ztoc.checkpoints);
  const digests = ztoc.spanDigests.map((digest) => writer.string(digest));
  const spanDigests = writer.offsets(digests);
  writer.startTable(COMPRESSION_INFO.fieldCount);
  writer.int32(COMPRESSION_INFO.maxSpanId, ztoc.maxSpanId);
  writer.offset(COMPRESSION_INFO.spanDigests, spanDigests);
  writer.offset(COMPRESSION_INFO.checkpoints, checkpoints);
  writer.int8(COMPRESSION_INFO.algorithm, ztoc.algorithm, ALGORITHM_GZIP);
  return writer.endTable();
}
