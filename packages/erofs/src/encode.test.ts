import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AppError } from "@soci-ts/core";
import { encodeErofs } from "./encode.ts";
import { COMPACT, EXTENDED, SUPER } from "./format.ts";
import { MAX_DEPTH } from "./limits.ts";
import { ErofsReader } from "./reader.ts";
import { describeImage, describeTree } from "./testing/describe.ts";
import {
  attributes,
  awkwardTree,
  b,
  devicesOf,
  dir,
  file,
  randomTree,
  special,
  symlink,
  xattrs,
} from "./testing/trees.ts";
import type { ErofsDirectory, ErofsNode } from "./types.ts";

const DEVICES = devicesOf(2);

function roundTrip(root: ErofsDirectory, devices = DEVICES): void {
  const reader = new ErofsReader(encodeErofs(root, { devices }));
  assert.deepEqual(describeImage(reader), describeTree(root));
}

describe("encodeErofs()", () => {
  it("keeps everything of every kind of node", () => {
    roundTrip(awkwardTree());
  });

  it("keeps random trees", () => {
    for (let seed = 1; seed <= 20; seed++) roundTrip(randomTree(seed, 300, 2));
  });

  it("gives equal bytes for equal trees, whatever the order of children and xattrs", () => {
    const one = dir({
      a: file(1, 0, { xattrs: xattrs({ "user.x": "1", "user.y": "2" }) }),
      b: symlink("t"),
    });
    const two = dir({
      b: symlink("t"),
      a: file(1, 0, { xattrs: xattrs({ "user.y": "2", "user.x": "1" }) }),
    });
    const uuid = new Uint8Array(16).fill(7);
    const image = encodeErofs(one, { devices: DEVICES, uuid });
    assert.deepEqual(encodeErofs(two, { devices: DEVICES, uuid }), image);
    assert.deepEqual(new ErofsReader(image).uuid, uuid);
    assert.deepEqual(new ErofsReader(image).devices, DEVICES);
  });

  it("uses the compact inode where the time is the commonest one, and shrinks the image by it", () => {
    const children = (time: (index: number) => number): Record<string, ErofsNode> =>
      Object.fromEntries(
        Array.from({ length: 1000 }, (_, i) => [`f${i}`, file(1, 0, { mtimeSec: time(i) })]),
      );
    const same = encodeErofs(
      dir(
        children(() => 3),
        { mtimeSec: 3 },
      ),
      { devices: DEVICES },
    );
    const mixed = encodeErofs(
      dir(
        children((i) => i),
        { mtimeSec: 3 },
      ),
      { devices: DEVICES },
    );
    assert.ok(mixed.length - same.length >= 1000 * 24, `${mixed.length} and ${same.length}`);
    const reader = new ErofsReader(same);
    assert.equal(reader.inodeCount, 1001);
    assert.equal(reader.inode(reader.rootNid).mtimeSec, 3);
  });

  it("holds files above 4 GiB and 1 TiB, offsets up to the address limit, and several devices", () => {
    const limit = 0xffffffff * 512;
    const root = dir({
      big: file(5 * 2 ** 30 + 1, 512),
      huge: file(3 * 2 ** 39 + 17, 1024),
      far: file(512, limit - 512, { device: 1 }),
      "1tib": file(2 ** 40, 0, { device: 1 }),
    });
    roundTrip(root, [{ sizeBytes: limit }, { sizeBytes: limit }]);
  });

  it("resumes a directory of many blocks at every cookie", () => {
    const names = Array.from({ length: 500 }, (_, i) => `entry-${i}`);
    const root = dir(Object.fromEntries(names.map((name) => [name, file(0, 0)])));
    const reader = new ErofsReader(encodeErofs(root, { devices: DEVICES }));
    const all = [...reader.readDirectory(reader.rootNid)];
    assert.deepEqual(
      all.map(({ name }) => name),
      [".", "..", ...names].sort(),
    );
    for (const [index, entry] of all.entries()) {
      const [next] = reader.readDirectory(reader.rootNid, entry.nextCookie);
      assert.deepEqual(next, all[index + 1]);
    }
    assert.equal(reader.lookup(reader.rootNid, b("entry-500")), undefined);
    assert.equal(reader.lookup(reader.rootNid, b("zzz")), undefined);
    assert.equal(reader.lookup(reader.rootNid, b("!")), undefined);
  });

  it("reaches the depth limit without recursion, and refuses one more", () => {
    const nest = (depth: number): ErofsDirectory => {
      let root = dir();
      for (let level = 0; level < depth; level++) root = dir({ d: root });
      return root;
    };
    roundTrip(nest(MAX_DEPTH));
    assert.throws(() => encodeErofs(nest(MAX_DEPTH + 1), { devices: DEVICES }), {
      code: "invalid_argument",
    });
  });

  it("writes 10,000 files well within the time a mount may take", () => {
    const root = randomTree(3, 10_000);
    encodeErofs(root, { devices: DEVICES });
    const start = performance.now();
    encodeErofs(root, { devices: DEVICES });
    assert.ok(performance.now() - start < 1000, `${performance.now() - start} ms`);
  });

  const twice = dir();
  const loop = dir();
  loop.children.set(b("loop"), loop);
  const refused: Record<string, ErofsDirectory> = {
    "a name with a slash": dir({ "a/b": file(0, 0) }),
    "a name with NUL": dir({ "a\0": file(0, 0) }),
    "an empty name": dir({ "": file(0, 0) }),
    "the name ..": dir({ "..": file(0, 0) }),
    "a name of 256 bytes": dir({ ["n".repeat(256)]: file(0, 0) }),
    "a directory with two names": dir({ a: twice, b: twice }),
    "a directory in itself": loop,
    "an empty link": dir({ l: symlink("") }),
    "a link of 4096 bytes": dir({ l: symlink("x".repeat(4096)) }),
    "data that is not aligned": dir({ f: file(1, 100) }),
    "data beyond the device": dir({ f: file(513, 65_024) }),
    "a device that is not there": dir({ f: file(1, 0, { device: 2 }) }),
    "a negative size": dir({ f: file(-1, 0) }),
    "a fractional size": dir({ f: file(1.5, 0) }),
    "type bits in the mode": dir({ f: file(1, 0, { mode: 0o100644 }) }),
    "a uid above 32 bits": dir({ f: file(1, 0, { uid: 2 ** 32 }) }),
    "a whole second of nanoseconds": dir({ f: file(1, 0, { mtimeNsec: 1e9 }) }),
    "a major above 12 bits": dir({ c: special("char", [4096, 0]) }),
    "an xattr without namespace": dir({}, { xattrs: xattrs({ thing: "1" }) }),
    "an xattr of an unknown namespace": dir({}, { xattrs: xattrs({ "system.thing": "1" }) }),
    "an xattr that is only a namespace": dir({}, { xattrs: xattrs({ "user.": "1" }) }),
    "an xattr name of 256 bytes": dir({}, { xattrs: xattrs({ [`user.${"n".repeat(251)}`]: "1" }) }),
    "an xattr value of 64 KiB": dir({}, { xattrs: xattrs({ "user.x": "v".repeat(65_536) }) }),
    "xattrs beyond 256 KiB": dir(
      {},
      {
        xattrs: xattrs(
          Object.fromEntries([1, 2, 3, 4, 5].map((i) => [`user.${i}`, "v".repeat(60_000)])),
        ),
      },
    ),
  };
  for (const [name, root] of Object.entries(refused)) {
    it(`refuses ${name}`, () => {
      assert.throws(() => encodeErofs(root, { devices: DEVICES }), { code: "invalid_argument" });
    });
  }

  it("refuses no devices, a short uuid, a long tag", () => {
    for (const options of [
      { devices: [] },
      { devices: DEVICES, uuid: new Uint8Array(15) },
      { devices: [{ sizeBytes: 0, tag: "x".repeat(65) }] },
      { devices: [{ sizeBytes: 2 ** 41 }] },
    ]) {
      assert.throws(() => encodeErofs(dir(), options), { code: "invalid_argument" });
    }
  });

  it("names the file it refuses, escaped", () => {
    assert.throws(
      () => encodeErofs(dir({ "bad\xff": file(1, 100) }), { devices: DEVICES }),
      (error: AppError) => error.message.includes('"bad\\xff"'),
    );
  });
});

describe("format.ts", () => {
  it("has the sizes of the kernel's structs", () => {
    assert.equal(SUPER.size, 128);
    assert.equal(COMPACT.bytes, 32);
    assert.equal(EXTENDED.bytes, 64);
    assert.equal(attributes().mode, 0o644);
  });
});
