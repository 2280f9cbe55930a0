import type { ByteString } from "@soci-ts/core";
import { BLOCK_BYTES, DIRENT_BYTES } from "./format.ts";
import { setByteString, setInt64 } from "./numbers.ts";

/** Where a directory's bytes go: entries [start, end) fill `usedBytes` of one block. */
export interface DirectoryBlock {
  readonly start: number;
  readonly end: number;
  readonly usedBytes: number;
}

/** Cuts a directory's sorted names into blocks; an entry never crosses a block's end. */
export function* directoryBlocks(names: readonly ByteString[]): Generator<DirectoryBlock> {
  let start = 0;
  let usedBytes = 0;
  for (let end = 0; end < names.length; end++) {
    const entryBytes = DIRENT_BYTES + (names[end] ?? "").length;
    if (usedBytes + entryBytes > BLOCK_BYTES) {
      yield { start, end, usedBytes };
      start = end;
      usedBytes = 0;
    }
    usedBytes += entryBytes;
  }
  yield { start, end: names.length, usedBytes };
}

/** Length of a directory's data in bytes: all blocks but the last count whole. */
export function directoryBytes(names: readonly ByteString[]): number {
  let size = 0;
  let last = 0;
  for (const { usedBytes } of directoryBlocks(names)) {
    size += last === 0 ? 0 : BLOCK_BYTES;
    last = usedBytes;
  }
  return size + last;
}

/** What an entry of a directory points at. */
export interface DirectoryTarget {
  readonly nid: number;
  readonly direntType: number;
}

/** Writes one block of a directory at `offset`; the bytes there are zero. */
export function writeDirectoryBlock(
  bytes: Uint8Array,
  offset: number,
  names: readonly ByteString[],
  targets: readonly DirectoryTarget[],
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let nameOffset = names.length * DIRENT_BYTES;
  for (const [index, name] of names.entries()) {
    const at = offset + index * DIRENT_BYTES;
    setInt64(view, at, targets[index]?.nid ?? 0);
    view.setUint16(at + 8, nameOffset, true);
    view.setUint8(at + 10, targets[index]?.direntType ?? 0);
    setByteString(bytes, offset + nameOffset, name);
    nameOffset += name.length;
  }
}
