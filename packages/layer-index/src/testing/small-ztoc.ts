import { type ByteString, sha256 } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import { joined, type LazyBytes } from "../ztoc/flat-writer.ts";
import { encodeTarZinfo } from "../ztoc/tar-zinfo.ts";
import { writeZtoc, type ZtocContent } from "../ztoc/write.ts";

/** Text of char codes 0–255 as a byte string. */
export const b = (text: string): ByteString => text as ByteString;

/** Bytes as the checkpoints of a ztoc. */
export function blobOf(bytes: Uint8Array): LazyBytes {
  return { sizeBytes: bytes.length, pieces: () => [bytes] };
}

/** A regular file of 100 bytes whose header is at 0. */
export const PLAIN_ENTRY: TarEntry = {
  name: b("file"),
  type: "reg",
  headerOffset: 0,
  dataOffset: 512,
  sizeBytes: 100,
  linkname: b(""),
  mode: 0o644,
  uid: 0,
  gid: 0,
  uname: b(""),
  gname: b(""),
  mtimeSec: 1_600_000_000,
  mtimeNsec: 0,
  devmajor: 0,
  devminor: 0,
  paxRecords: new Map(),
};

const PAX = new Map([
  [b("mtime"), b("1.5")],
  [b("SCHILY.xattr.user.a"), b("\xff\0")],
]);

/** The parts of a sound ztoc of an uncompressed layer of 5000 bytes, with an entry of every kind of field. */
export const SMALL_CONTENT: ZtocContent = {
  buildTool: "tool",
  compressedSizeBytes: 5000,
  uncompressedSizeBytes: 4608,
  algorithm: 2,
  maxSpanId: 1,
  spanDigests: [sha256(new Uint8Array(0)), sha256(new Uint8Array(1))],
  checkpoints: blobOf(encodeTarZinfo({ spanSizeBytes: 4096, sizeBytes: 5000 })),
  entries: [
    PLAIN_ENTRY,
    {
      ...PLAIN_ENTRY,
      name: b("caf\xe9"),
      type: "char",
      headerOffset: 1024,
      dataOffset: 2560,
      sizeBytes: 0,
      mode: -1,
      uid: 2 ** 32 - 1,
      gid: 7,
      uname: b("root"),
      gname: b("staff"),
      mtimeSec: 1,
      mtimeNsec: 500_000_000,
      devmajor: 5,
      devminor: 2 ** 40,
      paxRecords: PAX,
    },
    {
      ...PLAIN_ENTRY,
      name: b("link"),
      type: "symlink",
      headerOffset: 2560,
      dataOffset: 3072,
      sizeBytes: 0,
      linkname: b("file"),
    },
  ],
};

/** The ztoc of {@link SMALL_CONTENT} with some parts replaced. */
export function smallZtoc(changes: Partial<ZtocContent> = {}): Uint8Array {
  return joined(writeZtoc({ ...SMALL_CONTENT, ...changes }));
}
