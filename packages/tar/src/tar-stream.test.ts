import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "@soci-ts/testkit";
import { extract, type Header, pack } from "tar-stream";
import { scan } from "./testing/archive.ts";

type Row = readonly (string | number)[];
const TYPES: Readonly<Record<string, string>> = {
  file: "reg",
  directory: "dir",
  link: "hardlink",
  symlink: "symlink",
  "character-device": "char",
  "block-device": "block",
  fifo: "fifo",
};

function headers(count: number): Header[] {
  const random = seededRandom(7);
  const pick = (limit: number): number => Math.floor(random() * limit);
  return Array.from({ length: count }, (_, i) => {
    const type = Object.keys(TYPES)[pick(7)] as keyof typeof TYPES;
    const isDevice = type.endsWith("-device");
    return {
      name: `${"dir/".repeat(pick(90))}é-${i}${type === "directory" ? "/" : ""}`,
      type: type as Header["type"] & string,
      size: type === "file" ? pick(3000) : 0,
      linkname: type.endsWith("link") ? `target-${"t".repeat(pick(200))}` : "",
      mode: pick(0o10000),
      uid: pick(100_000),
      gid: pick(100_000),
      uname: `user${pick(3)}`,
      gname: "group",
      mtime: new Date(pick(2 ** 31) * 1000),
      ...(isDevice ? { devmajor: pick(255), devminor: pick(255) } : {}),
    } as Header;
  });
}

async function packed(list: readonly Header[]): Promise<Buffer> {
  const archive = pack();
  for (const header of list) archive.entry(header, Buffer.alloc(header.size ?? 0, 0x61));
  archive.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of archive) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** What tar-stream reads, as rows that compare with ours. */
async function extracted(archive: Buffer): Promise<Row[]> {
  const extraction = extract();
  extraction.end(archive);
  const rows: Row[] = [];
  for await (const entry of extraction) {
    const { header } = entry;
    const { byteOffset } = header as Header & { byteOffset: number };
    rows.push([
      header.name,
      TYPES[header.type ?? ""] ?? "",
      byteOffset,
      header.size ?? 0,
      header.linkname ?? "",
      header.mode ?? 0,
      header.uid ?? 0,
      header.gid ?? 0,
      header.uname ?? "",
      (header.mtime?.getTime() ?? 0) / 1000,
    ]);
    entry.resume();
  }
  return rows;
}

describe("createTarScan() beside tar-stream", () => {
  it("finds the same entries at the same places", async () => {
    const archive = await packed(headers(300));
    const want = await extracted(archive);
    const text = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");
    const got = scan(archive, { pieceBytes: 4096 }).entries.map((entry) => [
      // tar-stream takes the slash off directory names.
      text(entry.name).replace(/\/$/, ""),
      entry.type,
      entry.dataOffset,
      entry.sizeBytes,
      text(entry.linkname),
      entry.mode,
      entry.uid,
      entry.gid,
      text(entry.uname),
      entry.mtimeSec,
    ]);
    assert.deepEqual(
      got,
      want.map(([name, ...rest]) => [String(name).replace(/\/$/, ""), ...rest]),
    );
  });
});
