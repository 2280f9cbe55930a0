import { type ByteString, byteStringFromText, compareByteStrings } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import { Builder, type Offset } from "flatbuffers";
import type { EntrySequence } from "../packed-entries.ts";
import { formatModTime } from "./mod-time.ts";
import { ALGORITHM_GZIP, COMPRESSION_INFO, FILE, TOC, XATTR, ZTOC, ZTOC_VERSION } from "./slots.ts";

/** Bytes that are made where they are needed. */
export interface ZtocBlob {
  readonly sizeBytes: number;
  /** Fills `target`, which has that size. */
  readonly write: (target: Uint8Array) => void;
}

/** What a ztoc is made of, field by field; nothing of it is checked. */
export interface ZtocContent {
  readonly buildTool: string;
  readonly compressedSizeBytes: number;
  readonly uncompressedSizeBytes: number;
  readonly entries: EntrySequence;
  readonly algorithm: number;
  readonly maxSpanId: number;
  readonly spanDigests: readonly string[];
  readonly checkpoints: ZtocBlob;
}

/**
 * Writes a ztoc. A FlatBuffer is written from its end to its start, so the order of all calls below decides the bytes; it is
 * that of the reference builder (`soci-format.md` §2.2).
 */
export function writeZtoc(ztoc: ZtocContent): Uint8Array {
  const builder = new Builder(estimateSizeBytes(ztoc));
  const version = addString(builder, ZTOC_VERSION);
  const buildTool = addString(builder, byteStringFromText(ztoc.buildTool));
  const toc = addToc(builder, ztoc.entries);
  const compressionInfo = addCompressionInfo(builder, ztoc);
  builder.startObject(ZTOC.fieldCount);
  builder.addFieldOffset(ZTOC.version, version, 0);
  builder.addFieldOffset(ZTOC.buildTool, buildTool, 0);
  builder.addFieldOffset(ZTOC.toc, toc, 0);
  builder.addFieldInt64(ZTOC.compressedSize, BigInt(ztoc.compressedSizeBytes), 0n);
  builder.addFieldInt64(ZTOC.uncompressedSize, BigInt(ztoc.uncompressedSizeBytes), 0n);
  builder.addFieldOffset(ZTOC.compressionInfo, compressionInfo, 0);
  builder.finish(builder.endObject());
  return builder.asUint8Array();
}

/** An upper bound for ordinary layers: beyond it the builder copies all it has into a buffer twice as large. */
function estimateSizeBytes(ztoc: ZtocContent): number {
  let size = 1024 + ztoc.checkpoints.sizeBytes + 100 * ztoc.spanDigests.length;
  for (const entry of ztoc.entries) {
    size += 256 + entry.name.length + entry.linkname.length;
    for (const [key, value] of entry.paxRecords) size += 40 + key.length + value.length;
  }
  return size;
}

function addToc(builder: Builder, entries: EntrySequence): Offset {
  const files = addLastFirst(entries, (entry) => addFile(builder, entry));
  const metadata = addOffsets(builder, files);
  builder.startObject(TOC.fieldCount);
  builder.addFieldOffset(TOC.metadata, metadata, 0);
  return builder.endObject();
}

function addFile(builder: Builder, entry: TarEntry): Offset {
  const name = addString(builder, entry.name);
  const type = addString(builder, entry.type);
  const linkname = addString(builder, entry.linkname);
  const uname = addString(builder, entry.uname);
  const gname = addString(builder, entry.gname);
  const modTime = addString(
    builder,
    formatModTime({ seconds: entry.mtimeSec, nanoseconds: entry.mtimeNsec }),
  );
  const xattrs = addXattrs(builder, entry.paxRecords);
  builder.startObject(FILE.fieldCount);
  builder.addFieldOffset(FILE.name, name, 0);
  builder.addFieldOffset(FILE.type, type, 0);
  builder.addFieldInt64(FILE.uncompressedOffset, BigInt(entry.dataOffset), 0n);
  builder.addFieldInt64(FILE.uncompressedSize, BigInt(entry.sizeBytes), 0n);
  builder.addFieldOffset(FILE.linkname, linkname, 0);
  builder.addFieldInt64(FILE.mode, BigInt(entry.mode), 0n);
  builder.addFieldInt32(FILE.uid, entry.uid, 0);
  builder.addFieldInt32(FILE.gid, entry.gid, 0);
  builder.addFieldOffset(FILE.uname, uname, 0);
  builder.addFieldOffset(FILE.gname, gname, 0);
  builder.addFieldOffset(FILE.modTime, modTime, 0);
  builder.addFieldInt64(FILE.devmajor, BigInt(entry.devmajor), 0n);
  builder.addFieldInt64(FILE.devminor, BigInt(entry.devminor), 0n);
  builder.addFieldOffset(FILE.xattrs, xattrs, 0);
  return builder.endObject();
}

function addXattrs(builder: Builder, records: ReadonlyMap<ByteString, ByteString>): Offset {
  const sorted = [...records].sort(([a], [b]) => compareByteStrings(a, b));
  const tables = sorted.map(([key, value]) => {
    const keyOffset = addString(builder, key);
    const valueOffset = addString(builder, value);
    builder.startObject(XATTR.fieldCount);
    builder.addFieldOffset(XATTR.key, keyOffset, 0);
    builder.addFieldOffset(XATTR.value, valueOffset, 0);
    return builder.endObject();
  });
  return addOffsets(builder, tables);
}

function addCompressionInfo(builder: Builder, ztoc: ZtocContent): Offset {
  const checkpoints = addBlob(builder, ztoc.checkpoints);
  const digests = ztoc.spanDigests.map((digest) => addString(builder, digest));
  const spanDigests = addOffsets(builder, digests);
  builder.startObject(COMPRESSION_INFO.fieldCount);
  builder.addFieldInt32(COMPRESSION_INFO.maxSpanId, ztoc.maxSpanId, 0);
  builder.addFieldOffset(COMPRESSION_INFO.spanDigests, spanDigests, 0);
  builder.addFieldOffset(COMPRESSION_INFO.checkpoints, checkpoints, 0);
  builder.addFieldInt8(COMPRESSION_INFO.algorithm, ztoc.algorithm, ALGORITHM_GZIP);
  return builder.endObject();
}

/** Checkpoints are most of a ztoc: written right into the builder's buffer they need no copy. */
function addBlob(builder: Builder, blob: ZtocBlob): Offset {
  blob.write(startBytes(builder, blob.sizeBytes));
  return builder.endVector();
}

/** What the library's `createString` does, for a string of bytes (char codes 0–255) and without making an array of them. */
function addString(builder: Builder, value: string): Offset {
  builder.addInt8(0);
  const target = startBytes(builder, value.length);
  for (let i = 0; i < value.length; i += 1) target[i] = value.charCodeAt(i);
  return builder.endVector();
}

/** Starts a vector of bytes, which the caller fills in. */
function startBytes(builder: Builder, length: number): Uint8Array {
  builder.startVector(1, length, 1);
  builder.pad(length);
  const buffer = builder.dataBuffer().bytes();
  const start = buffer.length - builder.offset();
  return buffer.subarray(start, start + length);
}

function addOffsets(builder: Builder, offsets: readonly Offset[]): Offset {
  builder.startVector(4, offsets.length, 4);
  for (const offset of offsets.toReversed()) builder.addOffset(offset);
  return builder.endVector();
}

/** Entries that are written before the memory of those behind them is let go. */
const FORGET_EVERY = 1024;

/** Adds the last entry first; the offsets are in the entries' order. */
function addLastFirst(entries: EntrySequence, add: (entry: TarEntry) => Offset): Offset[] {
  const offsets = new Array<Offset>(entries.length);
  for (let at = entries.length - 1; at >= 0; at -= 1) {
    const entry = entries.at(at);
    if (entry !== undefined) offsets[at] = add(entry);
    if (at % FORGET_EVERY === 0) entries.forget?.(at);
  }
  return offsets;
}
