import { type ByteString, displayByteString, roundUp } from "@soci-ts/core";
import { TAR_ENTRY_TYPES, type TarEntry, type TarEntryType } from "@soci-ts/tar";
import type { LayerIndexLimits } from "../limits.ts";
import type { LayerSizes } from "../spans.ts";
import type { FlatTable } from "./flat-table.ts";
import { parseModTime } from "./mod-time.ts";
import { FILE, XATTR } from "./slots.ts";

const BLOCK_BYTES = 512;
const NO_RECORDS: ReadonlyMap<ByteString, ByteString> = new Map();
const TYPES: ReadonlySet<string> = new Set(TAR_ENTRY_TYPES);

/**
 * Decodes the file table in `slot` of `toc`. Where a header lies is not in it: each follows the data before it.
 * @throws FormatError if an entry's data does not lie after its header and inside the tar.
 */
export function* readPlacedFiles(
  toc: FlatTable,
  slot: number,
  sizes: LayerSizes,
  limits: LayerIndexLimits,
): Generator<TarEntry, void> {
  for (const entry of readFiles(toc, slot, limits)) {
    verifyPlace(toc, entry, sizes.uncompressedSizeBytes);
    yield entry;
  }
}

/** The same, but where an entry says it lies is taken as it is said. @throws FormatError if an entry is malformed. */
export function* readFiles(
  toc: FlatTable,
  slot: number,
  limits: LayerIndexLimits,
): Generator<TarEntry, void> {
  const { start, count } = toc.offsets(slot);
  if (count > limits.maxEntries) {
    toc.buffer.exceed(`it has ${count} entries, want at most ${limits.maxEntries}`);
  }
  let headerOffset = 0;
  for (let at = 0; at < count; at += 1) {
    const entry = decodeFile(toc.tableAt(start + 4 * at), headerOffset, limits);
    yield entry;
    headerOffset = roundUp(entry.dataOffset + entry.sizeBytes, BLOCK_BYTES);
  }
}

function decodeFile(file: FlatTable, headerOffset: number, limits: LayerIndexLimits): TarEntry {
  const { buffer, position } = file;
  const name = file.string(FILE.name);
  const linkname = file.string(FILE.linkname);
  const longest = Math.max(name.length, linkname.length);
  if (longest > limits.maxNameBytes) {
    buffer.exceed(
      `a name or link target has ${longest} bytes, want at most ${limits.maxNameBytes}`,
    );
  }
  const type: string = file.string(FILE.type);
  if (!TYPES.has(type)) buffer.fail(position, `${show(name)} has an unknown type`);
  const modTime = parseModTime(file.string(FILE.modTime));
  if (modTime === undefined)
    return buffer.fail(position, `the time of ${show(name)} is not RFC 3339`);
  return {
    name,
    type: type as TarEntryType,
    headerOffset,
    dataOffset: file.size(FILE.uncompressedOffset),
    sizeBytes: file.size(FILE.uncompressedSize),
    linkname,
    mode: file.int64(FILE.mode),
    uid: file.uint32(FILE.uid),
    gid: file.uint32(FILE.gid),
    uname: file.string(FILE.uname),
    gname: file.string(FILE.gname),
    mtimeSec: modTime.seconds,
    mtimeNsec: modTime.nanoseconds,
    devmajor: file.int64(FILE.devmajor),
    devminor: file.int64(FILE.devminor),
    paxRecords: decodeRecords(file),
  };
}

function decodeRecords(file: FlatTable): ReadonlyMap<ByteString, ByteString> {
  const { start, count } = file.offsets(FILE.xattrs);
  if (count === 0) return NO_RECORDS;
  const records = new Map<ByteString, ByteString>();
  for (let at = 0; at < count; at += 1) {
    const record = file.tableAt(start + 4 * at);
    const key = record.string(XATTR.key);
    // Readers differ in which of two they take, so one of them could be a lie that no comparison finds.
    if (records.has(key))
      file.buffer.fail(record.position, `PAX record ${show(key)} is there twice`);
    records.set(key, record.string(XATTR.value));
  }
  return records;
}

function verifyPlace({ buffer, position }: FlatTable, entry: TarEntry, tarSizeBytes: number): void {
  const { headerOffset, dataOffset, sizeBytes } = entry;
  if (dataOffset < headerOffset + BLOCK_BYTES || dataOffset % BLOCK_BYTES !== 0) {
    buffer.fail(
      position,
      `the data of ${show(entry.name)} is at ${dataOffset}, want whole blocks after its header at ${headerOffset}`,
    );
  }
  const end = dataOffset + (entry.type === "reg" ? sizeBytes : 0);
  if (end > tarSizeBytes || !Number.isSafeInteger(dataOffset + sizeBytes + BLOCK_BYTES)) {
    buffer.fail(
      position,
      `the data of ${show(entry.name)} ends at ${end}, want at most the tar's ${tarSizeBytes}`,
    );
  }
}

function show(name: ByteString): string {
  return JSON.stringify(displayByteString(name.slice(0, 256) as ByteString));
}
