import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, type ByteSource, type ByteString, bytesSource, sha256 } from "@soci-ts/core";
import { type ErofsDirectory, type ErofsNode, encodeErofs } from "@soci-ts/erofs";
import { FuseError } from "@soci-ts/fuse";
import { seededBytes } from "@soci-ts/testkit";
import { fixedSlots, LayerFileSystem } from "./layer-file-system.ts";
import { dataNodeId, imageNodeId, inodeNodeId } from "./node-ids.ts";

const attributes = { mode: 0o644, uid: 1, gid: 2, mtimeSec: 1_600_000_000, mtimeNsec: 7 };
const name = (text: string): ByteString => text as ByteString;
const tar = seededBytes(10_240 + 512, 1);
const lowerTar = seededBytes(5120, 2);

function sampleImage(): Uint8Array {
  const file = (sizeBytes: number, dataOffset: number, device = 0): ErofsNode => ({
    kind: "reg",
    ...attributes,
    xattrs: new Map(),
    sizeBytes,
    device,
    dataOffset,
  });
  const twin = file(700, 512);
  const children = new Map<ByteString, ErofsNode>([
    [name("one"), twin],
    [name("two"), twin],
    [name("below"), file(100, 1024, 1)],
    [name("empty"), file(0, 0)],
    [name("caf\xe9"), { kind: "symlink", ...attributes, xattrs: new Map(), target: name("../x") }],
    [
      name("gone"),
      { kind: "char", ...attributes, mode: 0, xattrs: new Map(), devmajor: 0, devminor: 0 },
    ],
  ]);
  const root: ErofsDirectory = {
    kind: "dir",
    ...attributes,
    mode: 0o755,
    children,
    xattrs: new Map([[name("trusted.overlay.opaque"), name("y")]]),
  };
  return encodeErofs(root, {
    devices: [{ sizeBytes: tar.length }, { sizeBytes: lowerTar.length }],
  });
}

const failing: ByteSource = {
  size: 4096,
  readAt: () => Promise.reject(new AppError("unavailable", "the registry is away")),
};

const image = sampleImage();
const fileSystem = new LayerFileSystem(
  fixedSlots([
    { digest: sha256(lowerTar), data: bytesSource(lowerTar), image, deviceSlots: [0, 0] },
    { digest: sha256(tar), data: bytesSource(tar), image, deviceSlots: [1, 0] },
    { digest: sha256(image), data: failing, image, deviceSlots: [2, 2] },
  ]),
);
const treeRoot = (await fileSystem.lookup(1, name("t1")))!;

async function readBytes(nodeId: number, offset: number, length: number): Promise<Buffer> {
  return Buffer.from(await fileSystem.read(nodeId, offset, length, {}));
}

describe("LayerFileSystem", () => {
  it("has a data file, an image and a tree for each slot", async () => {
    const listing = (await fileSystem.readDirectory(1)).map((entry) => String(entry.name));
    assert.deepEqual(listing, [".", "..", "d0", "m0", "t0", "d1", "m1", "t1", "d2", "m2", "t2"]);
    assert.equal((await fileSystem.lookup(1, name("d1")))?.nodeId, dataNodeId(1));
    for (const absent of ["d01", "x1", "t", "d-1", "d1\0"]) {
      assert.equal(await fileSystem.lookup(1, name(absent)), undefined, absent);
    }
    assert.equal(await fileSystem.lookup(dataNodeId(0), name("d0")), undefined);
  });

  it("does not let the kernel remember that a slot is absent: it may come to be", async () => {
    for (const absent of ["d3", "m99999"]) {
      await assert.rejects(fileSystem.lookup(1, name(absent)), FuseError, absent);
    }
  });

  it("shows files with whole pages and reads zeros where the bytes end", async () => {
    assert.equal((await fileSystem.getAttributes(dataNodeId(1))).sizeBytes, 12_288);
    const end = await readBytes(dataNodeId(1), 8192, 8192);
    assert.equal(end.length, 4096);
    assert.ok(end.subarray(0, 2560).equals(Buffer.from(tar.subarray(8192))));
    assert.ok(end.subarray(2560).every((byte) => byte === 0));
    assert.equal((await readBytes(dataNodeId(1), 20_000, 10)).length, 0);
    const whole = await readBytes(imageNodeId(1), 0, 100_000);
    assert.equal(whole.length % 4096, 0);
    assert.ok(whole.subarray(0, image.length).equals(Buffer.from(image)));
    assert.equal((await readBytes(imageNodeId(1), 100_000, 10)).length, 0);
  });

  it("reads files of the tree from the tar of the layer that has their bytes", async () => {
    const one = (await fileSystem.lookup(treeRoot.nodeId, name("one")))!;
    assert.ok((await readBytes(one.nodeId, 0, 4096)).equals(Buffer.from(tar.subarray(512, 1212))));
    assert.ok(
      (await readBytes(one.nodeId, 600, 4096)).equals(Buffer.from(tar.subarray(1112, 1212))),
    );
    assert.equal((await readBytes(one.nodeId, 700, 4096)).length, 0);
    const below = (await fileSystem.lookup(treeRoot.nodeId, name("below")))!;
    assert.ok(
      (await readBytes(below.nodeId, 0, 100)).equals(Buffer.from(lowerTar.subarray(1024, 1124))),
    );
    const empty = (await fileSystem.lookup(treeRoot.nodeId, name("empty")))!;
    assert.equal((await readBytes(empty.nodeId, 0, 100)).length, 0);
  });

  it("gives names that share an inode one id, and layers ids of their own", async () => {
    const one = (await fileSystem.lookup(treeRoot.nodeId, name("one")))!;
    assert.equal((await fileSystem.lookup(treeRoot.nodeId, name("two")))?.nodeId, one.nodeId);
    assert.equal(one.nlink, 2);
    const lowest = (await fileSystem.lookup(1, name("t0")))!;
    const other = (await fileSystem.lookup(lowest.nodeId, name("one")))!;
    assert.notEqual(other.nodeId, one.nodeId);
    const listing = await fileSystem.readDirectory(treeRoot.nodeId);
    assert.equal(listing.find((entry) => entry.name === "two")?.nodeId, one.nodeId);
  });

  it("shows links, whiteouts and xattrs as they are in the image", async () => {
    const link = (await fileSystem.lookup(treeRoot.nodeId, name("caf\xe9")))!;
    assert.deepEqual([...(await fileSystem.readLink(link.nodeId))], [...Buffer.from("../x")]);
    const gone = (await fileSystem.lookup(treeRoot.nodeId, name("gone")))!;
    assert.deepEqual([gone.type, gone.devmajor, gone.devminor], ["char", 0, 0]);
    const opaque = name("trusted.overlay.opaque");
    assert.deepEqual(await fileSystem.listXattrs(treeRoot.nodeId), [opaque]);
    assert.deepEqual([...(await fileSystem.getXattr(treeRoot.nodeId, opaque))!], [0x79]);
    assert.equal(await fileSystem.getXattr(dataNodeId(0), opaque), undefined);
  });

  it("names layer and offset when bytes can't be had", async () => {
    await assert.rejects(readBytes(dataNodeId(2), 512, 100), (error: AppError) => {
      assert.equal(error.code, "unavailable");
      assert.equal(error.details["layer"], sha256(image));
      assert.equal(error.details["offset"], 512);
      return true;
    });
  });

  it("has no nodes but its own", async () => {
    for (const id of [0, 2, dataNodeId(3), inodeNodeId(70_000, 1)]) {
      await assert.rejects(fileSystem.getAttributes(id), FuseError);
    }
    await assert.rejects(fileSystem.readLink(1), FuseError);
    await assert.rejects(fileSystem.getAttributes(inodeNodeId(0, 900_000)), { code: "data_loss" });
    await assert.rejects(readBytes(1, 0, 1), FuseError);
  });

  it("keeps listings of a few directories only, and the right ones", async () => {
    for (let turn = 0; turn < 50; turn += 1) {
      const root = (await fileSystem.lookup(1, name(`t${turn % 3}`)))!;
      assert.equal((await fileSystem.readDirectory(root.nodeId)).length, 8);
    }
  });
});
