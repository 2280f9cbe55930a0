import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes, FormatError } from "@soci-ts/core";
import { createTarScan } from "./scan.ts";
import { block, bytesOf, data, END, gnuLong, MAGIC, octal, pax, scan } from "./testing/archive.ts";
import type { TarEntry, TarScanResult } from "./types.ts";

function pushAll(entries: TarEntry[], pieces: readonly Uint8Array[]): TarScanResult {
  const tarScan = createTarScan({ onEntry: (entry) => entries.push(entry) });
  for (const piece of pieces) tarScan.push(piece);
  return tarScan.finish();
}

/** The only entry of an archive made of these parts and an end marker. */
function only(...parts: Uint8Array[]): TarEntry {
  const { entries } = scan(concatBytes([...parts, END]));
  assert.equal(entries.length, 1);
  return entries[0]!;
}

const FLAVOURS: [string, Uint8Array[], Partial<TarEntry>][] = [
  [
    "v7: no owner names, no devices",
    [block({ magic: MAGIC.v7, uname: "ann", devmajor: "0000007\0" })],
    {
      name: bytesOf("file"),
      uname: bytesOf(""),
      devmajor: 0,
      uid: 1,
      gid: 2,
      mode: 0o644,
      mtimeSec: 3,
    },
  ],
  ["v7: a NUL type flag is a file", [block({ magic: MAGIC.v7, flag: "\0" })], { type: "reg" }],
  [
    "v7: a NUL type flag and a slash is a directory without data",
    [block({ magic: MAGIC.v7, flag: "\0", name: "d/", size: 700 })],
    { type: "dir", sizeBytes: 700 },
  ],
  ["v7: an unknown magic", [block({ magic: "ustar\x0100", uname: "ann" })], { uname: bytesOf("") }],
  [
    "ustar: prefix, owners, devices",
    [
      block({
        flag: "3",
        prefix: "a/b",
        uname: "ann",
        gname: "bob",
        devmajor: "0000010\0",
        devminor: "0000003\0",
      }),
    ],
    {
      type: "char",
      name: bytesOf("a/b/file"),
      uname: bytesOf("ann"),
      gname: bytesOf("bob"),
      devmajor: 8,
      devminor: 3,
    },
  ],
  [
    "ustar: a full name field without NUL",
    [block({ name: "n".repeat(100) })],
    { name: bytesOf("n".repeat(100)) },
  ],
  [
    "ustar: a file flag and a slash stay a file",
    [block({ name: "d/" })],
    { type: "reg", name: bytesOf("d/") },
  ],
  ["ustar: names are bytes", [block({ name: "caf\xe9\xff" })], { name: bytesOf("caf\xe9\xff") }],
  [
    "ustar: the sum of signed bytes",
    [block({ name: "caf\xe9", signedSum: true })],
    { name: bytesOf("caf\xe9") },
  ],
  [
    "ustar: symbolic link",
    [block({ flag: "2", linkname: "to/this" })],
    { type: "symlink", linkname: bytesOf("to/this") },
  ],
  [
    "ustar: hard link with a size has no data",
    [block({ flag: "1", linkname: "x", size: 9 })],
    { type: "hardlink", sizeBytes: 9 },
  ],
  ["ustar: block device", [block({ flag: "4" })], { type: "block" }],
  ["ustar: directory", [block({ flag: "5" })], { type: "dir" }],
  ["ustar: fifo", [block({ flag: "6" })], { type: "fifo" }],
  [
    "star: prefix of 131 bytes",
    [block({ prefix: "p", extra: { 476: "00000000001\0", 488: "00000000001\0", 508: "tar\0" } })],
    { name: bytesOf("p/file") },
  ],
  [
    "GNU: no prefix",
    [block({ magic: MAGIC.gnu, prefix: "00000000001\x0000000000002\0" })],
    { name: bytesOf("file") },
  ],
  [
    "GNU: the prefix that early Go wrote",
    [block({ magic: MAGIC.gnu, prefix: "old/dir" })],
    { name: bytesOf("old/dir/file") },
  ],
  [
    "GNU: times that are no numbers, nor a prefix",
    [block({ magic: MAGIC.gnu, prefix: "old\xffdir" })],
    { name: bytesOf("file") },
  ],
  [
    "GNU: base-256 numbers",
    [
      block({
        magic: MAGIC.gnu,
        uid: "\x80\0\0\0\0\x3d\x09\0",
        gid: "\xff\xff\xff\xff\xff\xff\xff\xff",
        mtime: "\xff".repeat(12),
      }),
    ],
    { uid: 4_000_000, gid: 2 ** 32 - 1, mtimeSec: -1, mtimeNsec: 0 },
  ],
  [
    "GNU: long name and link, cut at a NUL",
    [
      gnuLong("L", `${"n".repeat(300)}\0x`),
      gnuLong("K", `${"t".repeat(200)}\0`),
      block({ magic: MAGIC.gnu, flag: "2", linkname: "short" }),
    ],
    { name: bytesOf("n".repeat(300)), linkname: bytesOf("t".repeat(200)) },
  ],
  [
    "GNU: an empty long name changes nothing",
    [gnuLong("L", ""), block({ magic: MAGIC.gnu })],
    { name: bytesOf("file") },
  ],
  [
    "PAX: all fields",
    [
      pax([
        ["path", "p\xff"],
        ["linkpath", "l"],
        ["uid", "3000000"],
        ["gid", "-1"],
        ["uname", "u"],
        ["gname", "g"],
        ["mtime", "-1.25"],
        ["atime", "1"],
        ["ctime", "2.5"],
      ]),
      block({ flag: "2" }),
    ],
    {
      name: bytesOf("p\xff"),
      linkname: bytesOf("l"),
      uid: 3_000_000,
      gid: 2 ** 32 - 1,
      uname: bytesOf("u"),
      gname: bytesOf("g"),
      mtimeSec: -2,
      mtimeNsec: 750_000_000,
    },
  ],
  [
    "PAX: empty values change nothing and stay",
    [
      pax([
        ["path", ""],
        ["uid", ""],
      ]),
      block({}),
    ],
    {
      name: bytesOf("file"),
      uid: 1,
      paxRecords: new Map([
        [bytesOf("path"), bytesOf("")],
        [bytesOf("uid"), bytesOf("")],
      ]),
    },
  ],
  [
    "PAX: binary xattr values",
    [pax([["SCHILY.xattr.user.a", "\0\xff=\n"]]), block({})],
    { paxRecords: new Map([[bytesOf("SCHILY.xattr.user.a"), bytesOf("\0\xff=\n")]]) },
  ],
  [
    "PAX: a second extended header replaces the first",
    [
      pax([
        ["path", "gone"],
        ["uid", "7"],
      ]),
      pax([["gid", "8"]]),
      block({}),
    ],
    {
      name: bytesOf("file"),
      uid: 1,
      gid: 8,
      paxRecords: new Map([[bytesOf("gid"), bytesOf("8")]]),
    },
  ],
  [
    "PAX: a GNU long name wins over the path",
    [pax([["path", "pax"]]), gnuLong("L", "gnu\0"), block({ magic: MAGIC.gnu })],
    { name: bytesOf("gnu") },
  ],
  [
    "PAX: a path with a slash makes an old entry a directory",
    [pax([["path", "d/"]]), block({ flag: "\0" })],
    { type: "dir" },
  ],
  [
    "PAX: an empty extended header",
    [pax([]), block({})],
    { paxRecords: new Map(), headerOffset: 0, dataOffset: 1024 },
  ],
  [
    "PAX: the offsets take in extended headers",
    [pax([["a", "v".repeat(600)]]), block({})],
    { headerOffset: 0, dataOffset: 2048 },
  ],
  [
    "PAX: a global header is passed over, with what came before it",
    [pax([["path", "gone"]]), pax([["uid", "9"]], "g"), block({})],
    { name: bytesOf("file"), uid: 1, headerOffset: 2048, dataOffset: 2560 },
  ],
  [
    "PAX: sparse keys of an unknown version mean nothing",
    [
      pax([
        ["GNU.sparse.major", "7"],
        ["GNU.sparse.name", "x"],
      ]),
      block({}),
    ],
    { name: bytesOf("file") },
  ],
];

describe("createTarScan()", () => {
  for (const [name, parts, want] of FLAVOURS) {
    it(`reads ${name}`, () => {
      const entry = only(...parts);
      for (const [key, value] of Object.entries(want)) {
        assert.deepEqual(entry[key as keyof TarEntry], value, key);
      }
    });
  }

  it("takes the size, and so the next header's place, from PAX", () => {
    const archive = concatBytes([
      pax([["size", "600"]]),
      block({ size: 1 }),
      data("x".repeat(600)),
      block({ name: "next" }),
      END,
    ]);
    const { entries, endOffset } = scan(archive);
    assert.deepEqual(
      entries.map((entry) => [entry.name, entry.headerOffset, entry.dataOffset, entry.sizeBytes]),
      [
        ["file", 0, 1536, 600],
        ["next", 2560, 3072, 0],
      ],
    );
    assert.equal(endOffset, archive.length);
  });

  it("gives the same entries however the archive is cut", () => {
    const parts = FLAVOURS.flatMap(([, blocks]) => blocks);
    const archive = concatBytes([...parts, block({ size: 5 }), data("hello"), END]);
    const whole = scan(archive);
    for (const pieceBytes of [1, 3, 511, 512, 513, 1000])
      assert.deepEqual(scan(archive, { pieceBytes }), whole);
  });
});

const FILE = concatBytes([block({ size: 5 }), data("hello")]);
const ENDS: [string, Uint8Array[], number][] = [
  ["nothing at all", [], 0],
  ["two zero blocks and padding", [FILE, END, new Uint8Array(9000)], 1024 + 1024],
  ["two zero blocks and junk", [FILE, END, data("junk")], 1024 + 1024],
  ["one zero block", [FILE, new Uint8Array(512)], 1024 + 512],
  ["no zero block", [FILE], 1024],
  ["no padding", [FILE.subarray(0, 512 + 5)], 512 + 5],
  ["half of the padding", [FILE.subarray(0, 600)], 600],
  ["an extended header of nobody", [FILE, pax([["path", "x"]])], 2048],
  ["an extended header of nobody and zero blocks", [FILE, pax([["path", "x"]]), END], 2048 + 1024],
];

describe("TarScan.finish()", () => {
  for (const [name, parts, want] of ENDS) {
    it(`ends at ${want} after ${name}`, () =>
      assert.equal(scan(concatBytes(parts)).endOffset, want));
  }

  it("refuses an archive cut anywhere else", () => {
    const archive = concatBytes([pax([["a", "b"]]), FILE, FILE, END]);
    const clean = new Set<number>();
    for (let length = 0; length < archive.length; length += 1) {
      try {
        scan(archive.subarray(0, length));
        clean.add(length);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
        assert.ok(error.offset <= length);
      }
    }
    // Where nothing has begun, and in padding.
    const padding = (start: number, end: number): number[] =>
      Array.from({ length: end - start + 1 }, (_, i) => start + i);
    const want = [
      0,
      ...padding(512 + 6, 1024),
      ...padding(1536 + 5, 2048),
      ...padding(2560 + 5, 3072),
      3584,
    ];
    assert.deepEqual([...clean], want);
  });
});

describe("TarScan.push()", () => {
  it("skips data of any size without a copy, past 4 GiB too", () => {
    const sizeBytes = 5 * 2 ** 30;
    const head = block({ size: octal(sizeBytes, 12) });
    const entries: TarEntry[] = [];
    const piece = new Uint8Array(2 ** 24);
    const started = process.hrtime.bigint();
    const rest = concatBytes([block({ name: "next" }), END]);
    const { endOffset } = pushAll(entries, [
      head,
      ...Array<Uint8Array>(sizeBytes / piece.length).fill(piece),
      rest,
    ]);
    assert.ok(process.hrtime.bigint() - started < 1_000_000_000n);
    assert.equal(entries[1]?.headerOffset, 512 + sizeBytes);
    assert.equal(endOffset, 512 + sizeBytes + 512 + 1024);
  });
});

describe("skip()", () => {
  it("passes over file data as pushing it does, and over all after the end", () => {
    const archive = concatBytes([
      block({ size: 5000 }),
      data("x".repeat(5000)),
      block({ name: "next", size: 3 }),
      data("abc"),
      END,
    ]);
    const entries: TarEntry[] = [];
    const tarScan = createTarScan({ onEntry: (entry) => entries.push(entry) });
    const jumps: number[] = [];
    for (let at = 0; at < archive.length; ) {
      const { skippableBytes } = tarScan;
      if (skippableBytes > 0) {
        const skipped = Math.min(skippableBytes, archive.length - at);
        tarScan.skip(skipped);
        jumps.push(skipped);
        at += skipped;
      } else {
        tarScan.push(archive.subarray(at, at + 512));
        at += 512;
      }
    }
    assert.deepEqual(jumps, [5120, 512]);
    assert.deepEqual(entries, scan(archive).entries);
    assert.deepEqual(tarScan.finish(), { endOffset: archive.length, entryCount: 2 });
    assert.equal(tarScan.skippableBytes, Number.POSITIVE_INFINITY);
  });

  it("refuses to pass over what has to be read, and notices data that is missing", () => {
    const tarScan = createTarScan({ onEntry: () => {} });
    assert.throws(() => tarScan.skip(1), /Cannot skip 1 bytes/);
    tarScan.push(block({ size: 600 }));
    assert.throws(() => tarScan.skip(1025), /1024 bytes can be passed over/);
    assert.throws(() => tarScan.skip(-1), /Cannot skip -1/);
    tarScan.skip(599);
    assert.throws(() => tarScan.finish(), FormatError);
  });
});
