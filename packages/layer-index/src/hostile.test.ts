import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { concatBytes } from "@soci-ts/core";
import { type ErofsDirectory, ErofsReader, encodeErofs } from "@soci-ts/erofs";
import { createTarScan, type TarEntry } from "@soci-ts/tar";
import { buildTar, succeeds, testHostileReaders } from "@soci-ts/testkit";
import { HeaderTable } from "./header-table.ts";
import { build, buildIndex } from "./testing/build.ts";
import { smallZtoc } from "./testing/small-ztoc.ts";
import { rawZstdFrame, skippableFrame } from "./testing/zstd.ts";
import { buildLayerTree } from "./tree/build-layer-tree.ts";
import { decodeZtoc } from "./ztoc/decode.ts";
import { encodeZtoc } from "./ztoc/encode.ts";
import { FlatBuffer, type FlatTable } from "./ztoc/flat-table.ts";
import { joined } from "./ztoc/flat-writer.ts";
import { decodeTarZinfo, encodeTarZinfo } from "./ztoc/tar-zinfo.ts";
import { decodeZinfo, zinfoBytes, zinfoSizeBytes } from "./ztoc/zinfo.ts";

const TESTDATA = new URL("../testdata/", import.meta.url);
const LIMITS = { maxMetadataBytes: 1_000_000, maxEntries: 10_000, maxSpans: 1_000 };
const BLOCK_BYTES = 512;
const ZINFO_HEAD_BYTES = 12;
const CHECKPOINT_BYTES = zinfoSizeBytes(1) - ZINFO_HEAD_BYTES;
const CHECKPOINT_HEAD_BYTES = 17;

/** A layer with an entry of every kind, and names that go wrong where they become paths. */
const TAR = await buildTar([
  { name: "./", type: "directory" },
  { name: "etc/", type: "directory", pax: { "SCHILY.xattr.user.a": "b" } },
  { name: "etc/file", content: "text".repeat(200) },
  { name: "etc/link", type: "symlink", linkname: "../../../outside" },
  { name: "etc/link/through", content: "x" },
  { name: "hard", type: "link", linkname: "etc/file" },
  { name: "../up", content: "up" },
  { name: "dev/null", type: "character-device", devmajor: 1, devminor: 3 },
  { name: "etc/.wh.gone", content: "" },
  { name: "etc/.wh..wh..opq", content: "" },
]);
const GZIP = gzipSync(TAR, { memLevel: 1 });
const GZIP_INDEX = await buildIndex(GZIP, { spanSizeBytes: 2_000 });
const ENTRIES = scanTar(TAR);

function scanTar(tar: Uint8Array): TarEntry[] {
  const entries: TarEntry[] = [];
  const scan = createTarScan({ onEntry: (entry) => entries.push(entry), limits: LIMITS });
  scan.push(tar);
  scan.finish();
  return entries;
}

/** What is accepted is in order. */
function readZtoc(ztoc: Uint8Array): void {
  const { entries, spans, uncompressedSizeBytes } = decodeZtoc(ztoc, LIMITS);
  let end = 0;
  for (const span of spans) {
    assert.ok(span.uncompressedStart === end && span.uncompressedEnd >= end);
    assert.ok(span.compressedEnd > span.compressedStart);
    end = span.uncompressedEnd;
  }
  assert.equal(end, uncompressedSizeBytes);
  for (const entry of entries) assert.ok(entry.dataOffset >= entry.headerOffset + BLOCK_BYTES);
}

/** The zinfo of {@link GZIP_INDEX}; in a ztoc it is as long as its spans are many, so it is read for one more and one less too. */
function zinfo(): Uint8Array {
  return joined(zinfoBytes(GZIP_INDEX));
}

function readZinfo(bytes: Uint8Array): void {
  const count = GZIP_INDEX.checkpoints.length;
  succeeds(() => decodeZinfo(bytes, count + 1));
  succeeds(() => decodeZinfo(bytes, 0));
  const { checkpoints, spanSizeBytes } = decodeZinfo(bytes, count);
  assert.ok(spanSizeBytes > 0 && checkpoints.length === count);
}

/** The heads of a zinfo's checkpoints, between windows that say nothing to a decoder. */
function checkpointHeads(start: number): [number, number][] {
  return GZIP_INDEX.checkpoints.map((_, at) => {
    const head = start + ZINFO_HEAD_BYTES + at * CHECKPOINT_BYTES;
    return [head, head + CHECKPOINT_HEAD_BYTES];
  });
}

/** Asks a FlatBuffer for everything, in every way, whatever its schema. */
function readFlat(bytes: Uint8Array): void {
  const buffer = new FlatBuffer(bytes, "flatbuffer", 100_000);
  const walk = (table: FlatTable, depth: number): void => {
    for (let slot = 0; slot < 15; slot += 1) {
      succeeds(() => table.int8(slot, 0));
      succeeds(() => table.int32(slot) + table.uint32(slot) + table.size(slot));
      succeeds(() => table.string(slot));
      succeeds(() => table.bytes(slot));
      succeeds(() => {
        const { start, count } = table.offsets(slot);
        for (let at = 0; at < Math.min(count, 4); at += 1) table.stringAt(start + 4 * at);
      });
      if (depth > 0) {
        succeeds(() => {
          const child = table.table(slot);
          if (child !== undefined) walk(child, depth - 1);
        });
      }
    }
  };
  succeeds(() => decodeTarZinfo(bytes));
  walk(buffer.root(), 2);
}

/** Holds a tar against a table, either of which may be damaged: in the input, the tar is before the table. */
function readHeaderTable(bytes: Uint8Array): void {
  const tar = bytes.subarray(0, Math.min(TAR.length, bytes.length));
  const table = HeaderTable.decode(bytes.subarray(tar.length));
  const split = table.splitBy([700, 2_000, 2_100, 5_000]);
  for (const header of split) {
    succeeds(() => table.verifySplit(header, tar.subarray(header.start, header.end)));
  }
  table.within(600, 4_000).verify(tar.subarray(600, 4_000), 600);
  table.verify(tar, 0);
}

/** From a layer's tar to all that is made of it: what is accepted at one step is fit for the next. */
async function readLayer(tar: Uint8Array): Promise<void> {
  const { entries, index } = await build(tar, { compression: "none", limits: LIMITS });
  HeaderTable.of(entries).verify(tar, 0);
  if (index !== undefined && succeeds(() => encodeZtoc(index))) {
    assert.deepEqual(decodeZtoc(encodeZtoc(index)).entries, entries);
  }
  const { root } = buildLayerTree(entries);
  verifyInside(root);
  const image = encodeErofs(root, { devices: [{ sizeBytes: tar.length, tag: "tar" }] });
  const reader = new ErofsReader(image);
  assert.ok([...reader.readDirectory(reader.rootNid)].length >= 2);
}

/** No name in the tree leads anywhere but down. */
function verifyInside(directory: ErofsDirectory): void {
  for (const [name, node] of directory.children) {
    assert.ok(name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name), name);
    if (node.kind === "dir") verifyInside(node);
  }
}

async function readZstd(blob: Uint8Array): Promise<void> {
  const { index } = await build(blob, { compression: "zstd", limits: LIMITS });
  assert.equal(index, undefined);
}

/** Writes each header's checksum where one was. */
function sealTar(tar: Uint8Array): void {
  for (let start = 0; start + BLOCK_BYTES <= tar.length; start += BLOCK_BYTES) {
    const header = Buffer.from(tar.buffer, tar.byteOffset + start, BLOCK_BYTES);
    if (!/^[0-7]{6}\0 $/.test(header.toString("latin1", 148, 156))) continue;
    header.write("        ", 148, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  }
}

const gzipZtoc = encodeZtoc(GZIP_INDEX);
const zinfoAt = Buffer.from(gzipZtoc).indexOf(zinfo().subarray(0, 40));
const zstdFile = new Uint8Array(readFileSync(new URL("zstd/numbers.tar.zst", TESTDATA)));

testHostileReaders(TESTDATA, [
  {
    name: "ztoc",
    seeds: [smallZtoc(), encodeZtoc(await buildIndex(TAR, { compression: "none" })), gzipZtoc],
    // Windows are most of the last.
    hot: (ztoc) =>
      ztoc === gzipZtoc
        ? [[0, zinfoAt], ...checkpointHeads(zinfoAt), [zinfoAt + zinfo().length, ztoc.length]]
        : undefined,
    tokens: ["sha256:", "reg", "dir", "hardlink", "0001-01-01T00:00:00Z", "+25:00"],
    read: readZtoc,
  },
  {
    name: "zinfo",
    seeds: [zinfo()],
    hot: () => [[0, ZINFO_HEAD_BYTES], ...checkpointHeads(0)],
    read: readZinfo,
  },
  {
    name: "flatbuffer",
    seeds: [encodeTarZinfo({ spanSizeBytes: 4096, sizeBytes: 5000 }), smallZtoc()],
    read: readFlat,
  },
  {
    name: "header-table",
    seeds: [concatBytes([TAR, HeaderTable.of(ENTRIES).encode()])],
    hot: (seed) => [
      [0, TAR.length],
      [TAR.length, seed.length],
    ],
    seal: sealTar,
    read: readHeaderTable,
  },
  {
    name: "layer",
    seeds: [TAR],
    tokens: [
      "../",
      "/",
      "\0",
      ".wh.",
      ".wh..wh..opq",
      "..",
      "etc/link/",
      "SCHILY.xattr.trusted.x",
      "1",
      "2",
    ],
    seal: sealTar,
    read: readLayer,
  },
  {
    name: "zstd",
    seeds: [concatBytes([skippableFrame(Uint8Array.of(1, 2)), rawZstdFrame(TAR)]), zstdFile],
    hot: () => [[0, 40]],
    tokens: ["\x28\xb5\x2f\xfd", "\x50\x2a\x4d\x18"],
    read: readZstd,
  },
]);
