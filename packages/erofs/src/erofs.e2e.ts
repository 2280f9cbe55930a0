import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import {
  type BigIntStats,
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { byteStringFrom } from "@soci-ts/core";
import { encodeErofs } from "./encode.ts";
import { ErofsReader } from "./reader.ts";
import {
  type Description,
  type Descriptions,
  describeImage,
  describeTree,
  xattrList,
} from "./testing/describe.ts";
import { mountReadOnly, unmount, whyNoErofs, xattrsOf } from "./testing/kernel.ts";
import { awkwardTree, dir, file, randomTree, special, symlink, xattrs } from "./testing/trees.ts";
import type { ErofsDirectory } from "./types.ts";

const KINDS: readonly (readonly [number, string])[] = [
  [0o100000, "reg"],
  [0o040000, "dir"],
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
  [0o140000, "socket"],
  [0o120000, "symlink"],
];
const SECOND = 1_000_000_000n;
const why = whyNoErofs();
const mounts: string[] = [];
const scratch: string[] = [];

after(() => {
  for (const target of mounts.reverse()) unmount(target);
  for (const path of scratch) rmSync(path, { recursive: true, force: true });
});

/** Not on tmpfs: the kernel refuses to mount from files there (ENOTBLK). */
function workDirectory(): string {
  const path = mkdtempSync("/var/tmp/erofs-e2e-");
  scratch.push(path);
  return path;
}

/** Writes the image and its devices to files and mounts it by mount(2), with no loop device. */
function mountTree(
  root: ErofsDirectory,
  { work = workDirectory(), devices = [randomBytes(65_536)] } = {},
): Mounted {
  const image = encodeErofs(root, {
    devices: devices.map(({ length }) => ({ sizeBytes: length })),
  });
  const target = join(work, `m${mounts.length}`);
  mkdirSync(target);
  const paths = devices.map((bytes, index) => {
    writeFileSync(`${target}.data${index}`, bytes);
    return `device=${target}.data${index}`;
  });
  writeFileSync(`${target}.meta`, image);
  mountReadOnly(`${target}.meta`, target, { type: "erofs", data: paths.join(",") });
  mounts.push(target);
  return { target, image, devices };
}

interface Mounted {
  readonly target: string;
  readonly image: Uint8Array;
  readonly devices: readonly Uint8Array[];
}

/** Describes a mounted tree as the kernel shows it. `extent` holds the digest of a file's bytes. */
function describeMount(target: string): Descriptions {
  const groups = new Map<bigint, string>();
  const visits = [{ path: "", full: Buffer.from(target) }];
  const descriptions: Descriptions = new Map();
  for (const { path, full } of visits) {
    const stat = lstatSync(full, { bigint: true });
    if (!groups.has(stat.ino)) groups.set(stat.ino, path || "/");
    const description = { ...describeFile(full, stat), group: groups.get(stat.ino) ?? "" };
    descriptions.set(path || "/", description);
    if (description.kind !== "dir") continue;
    for (const name of readdirSync(full, { encoding: "buffer" }).sort(Buffer.compare)) {
      visits.push({
        path: `${path}/${name.toString("latin1")}`,
        full: Buffer.concat([full, Buffer.from("/"), name]),
      });
    }
  }
  return descriptions;
}

function describeFile(full: Buffer, stat: BigIntStats): Omit<Description, "group"> {
  const kind = KINDS.find(([bits]) => bits === (Number(stat.mode) & 0o170000))?.[1] ?? "";
  const mtimeSec = stat.mtimeNs / SECOND - (stat.mtimeNs % SECOND < 0n ? 1n : 0n);
  const isDevice = kind === "char" || kind === "block";
  return {
    kind,
    mode: Number(stat.mode) & 0o7777,
    owner: `${stat.uid}:${stat.gid}`,
    nlink: Number(stat.nlink),
    mtime: `${mtimeSec}+${stat.mtimeNs - mtimeSec * SECOND}`,
    device: isDevice ? deviceText(stat.rdev) : "0:0",
    target: kind === "symlink" ? byteStringFrom(readlinkSync(full, { encoding: "buffer" })) : "",
    sizeBytes: kind === "dir" ? 0 : Number(stat.size),
    extent: kind === "reg" ? digest(readFileSync(full)) : "",
    xattrs: xattrList(xattrsOf(full)),
  };
}

/** glibc's dev_t: minor bits 0–7 and 20–31, major bits 8–19. */
function deviceText(rdev: bigint): string {
  return `${(rdev >> 8n) & 0xfffn}:${(rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n)}`;
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What the kernel should show: extents replaced by the digest of the bytes they cover. */
function withContent(descriptions: Descriptions, devices: readonly Uint8Array[]): Descriptions {
  const withDigest = (description: Description): Description => {
    if (description.kind !== "reg") return description;
    const [device = 0, offset = 0, size = 0] = description.extent.split(/[@+]/).map(Number);
    return {
      ...description,
      extent: digest((devices[device] ?? Buffer.of()).subarray(offset, offset + size)),
    };
  };
  return new Map([...descriptions].map(([path, description]) => [path, withDigest(description)]));
}

function assertSame(actual: Descriptions, expected: Descriptions): void {
  assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
  for (const [path, description] of expected) assert.deepEqual(actual.get(path), description, path);
}

describe("an image in the kernel", { skip: why === undefined ? false : `skipped: ${why}` }, () => {
  it("shows every kind of node as it went in, and as the reader has it", () => {
    const root = awkwardTree();
    const { target, image, devices } = mountTree(root, {
      devices: [randomBytes(65_536), randomBytes(65_536)],
    });
    const seen = describeMount(target);
    assertSame(seen, withContent(describeTree(root), devices));
    assertSame(seen, withContent(describeImage(new ErofsReader(image)), devices));
  });

  it("shows random trees", () => {
    for (const [seed, count] of [
      [1, 5000],
      [2, 300],
      [3, 300],
    ] as const) {
      const root = randomTree(seed, count, 3);
      const devices = [1, 2, 3].map(() => randomBytes(65_536));
      const mounted = mountTree(root, { devices });
      assertSame(describeMount(mounted.target), withContent(describeTree(root), devices));
    }
  });

  it("gives the reader's inode numbers and directory order", () => {
    const { target, image } = mountTree(randomTree(4, 200));
    const reader = new ErofsReader(image);
    assert.equal(lstatSync(target).ino, reader.rootNid);
    const names = [...reader.readDirectory(reader.rootNid)].map(({ name }) => name);
    const listed = readdirSync(target, { encoding: "buffer" }).map((name) => byteStringFrom(name));
    assert.deepEqual(
      names.filter((name) => name !== "." && name !== ".."),
      listed,
    );
  });

  it("shows a directory of 20,000 entries", () => {
    const children = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i) => [`file-${i}`, file(0, 0)]),
    );
    const { target } = mountTree(dir({ many: dir(children) }));
    assert.equal(readdirSync(join(target, "many")).length, 20_000);
    assert.equal(lstatSync(join(target, "many", "file-19999")).size, 0);
    assert.throws(() => lstatSync(join(target, "many", "file-20000")), { code: "ENOENT" });
  });

  it("reads files of more than 4 GiB and 1 TiB on a device of nearly 2 TiB", () => {
    const work = workDirectory();
    const deviceBytes = 0xffffffff * 512;
    const spots = [2 ** 32 + 512, 2 ** 40 + 2 ** 39, deviceBytes - 512];
    const device = openSync(join(work, "data"), "w");
    ftruncateSync(device, deviceBytes);
    for (const spot of spots) writeSync(device, `at ${spot}`, spot);
    closeSync(device);
    const root = dir({
      big: file(2 ** 32 + 1024, 512),
      huge: file(deviceBytes - 512, 512),
      last: file(512, deviceBytes - 512),
    });
    const target = join(work, "m");
    mkdirSync(target);
    writeFileSync(join(work, "meta"), encodeErofs(root, { devices: [{ sizeBytes: deviceBytes }] }));
    mountReadOnly(join(work, "meta"), target, { type: "erofs", data: `device=${work}/data` });
    mounts.push(target);
    const read = (name: string, position: number): string => {
      const fd = openSync(join(target, name), "r");
      const buffer = Buffer.alloc(17);
      readSync(fd, buffer, 0, buffer.length, position);
      closeSync(fd);
      return buffer.toString().replace(/\0.*/, "");
    };
    assert.equal(lstatSync(join(target, "huge")).size, deviceBytes - 512);
    assert.equal(read("big", 2 ** 32), `at ${spots[0]}`);
    for (const spot of spots) assert.equal(read("huge", spot - 512), `at ${spot}`);
    assert.equal(read("last", 0), `at ${spots[2]}`);
  });

  it("works as overlay lowers: whiteouts, opaque and merged directories, the lower's own overlay xattrs absent", () => {
    const lower = mountTree(
      dir({
        gone: file(1, 0),
        replaced: file(2, 0),
        opaque: dir({ hidden: file(1, 0) }),
        merged: dir({ low: file(3, 0) }, { mode: 0o700 }),
        link: symlink("merged"),
      }),
    );
    const opaque = xattrs({ "trusted.overlay.opaque": "y" });
    const upper = mountTree(
      dir({
        gone: special("char", [0, 0], { mode: 0 }),
        replaced: dir({ now: file(1, 0) }),
        opaque: dir({ fresh: file(1, 0) }, { xattrs: opaque }),
        merged: dir({ up: file(4, 0) }, { mode: 0o1777 }),
      }),
    );
    const target = join(workDirectory(), "o");
    mkdirSync(target);
    mountReadOnly("overlay", target, {
      type: "overlay",
      data: `lowerdir=${upper.target}:${lower.target}`,
    });
    mounts.push(target);
    assert.deepEqual(readdirSync(target).sort(), ["link", "merged", "opaque", "replaced"]);
    assert.deepEqual(readdirSync(join(target, "opaque")), ["fresh"]);
    assert.deepEqual(readdirSync(join(target, "replaced")), ["now"]);
    assert.deepEqual(readdirSync(join(target, "merged")).sort(), ["low", "up"]);
    assert.equal(lstatSync(join(target, "merged")).mode & 0o7777, 0o1777);
    assert.deepEqual(xattrsOf(Buffer.from(join(target, "opaque"))).size, 0);
  });
});
