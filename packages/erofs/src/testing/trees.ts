import { type ByteString, byteStringFrom } from "@soci-ts/core";
import type {
  ErofsAttributes,
  ErofsDevice,
  ErofsDirectory,
  ErofsFile,
  ErofsNode,
  ErofsSpecial,
  ErofsSymlink,
} from "../types.ts";
import { Random } from "./random.ts";

/** A byte string written in Latin-1: `\xe9` is the byte E9. */
export function b(text: string): ByteString {
  return text as ByteString;
}

/** Attributes with defaults. */
export function attributes(over: Partial<ErofsAttributes> = {}): ErofsAttributes {
  const base = { mode: 0o644, uid: 0, gid: 0, mtimeSec: 1_700_000_000, mtimeNsec: 0 };
  return { ...base, xattrs: new Map(), ...over };
}

/** A directory. */
export function dir(
  children: Record<string, ErofsNode> = {},
  over: Partial<ErofsAttributes> = {},
): ErofsDirectory {
  const entries = Object.entries(children).map(([name, node]) => [b(name), node] as const);
  return { kind: "dir", ...attributes({ mode: 0o755, ...over }), children: new Map(entries) };
}

/** A regular file. */
export function file(
  sizeBytes: number,
  dataOffset: number,
  over: Partial<ErofsFile> = {},
): ErofsFile {
  return { kind: "reg", ...attributes(), sizeBytes, dataOffset, device: 0, ...over };
}

/** A symbolic link. */
export function symlink(target: string, over: Partial<ErofsAttributes> = {}): ErofsSymlink {
  return { kind: "symlink", ...attributes({ mode: 0o777, ...over }), target: b(target) };
}

/** A device, fifo or socket. */
export function special(
  kind: ErofsSpecial["kind"],
  [devmajor, devminor]: readonly [number, number] = [0, 0],
  over: Partial<ErofsAttributes> = {},
): ErofsSpecial {
  return { kind, ...attributes(over), devmajor, devminor };
}

/** xattrs from plain strings. */
export function xattrs(values: Record<string, string>): Map<ByteString, ByteString> {
  return new Map(Object.entries(values).map(([name, value]) => [b(name), b(value)]));
}

/** An ACL value as the kernel wants it: version 2, then (tag, permissions, id) triples. */
export function acl(
  entries: readonly (readonly [tag: number, perm: number, id: number])[],
): string {
  const bytes = new Uint8Array(4 + entries.length * 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  for (const [index, [tag, perm, id]] of entries.entries()) {
    view.setUint16(4 + index * 8, tag, true);
    view.setUint16(6 + index * 8, perm, true);
    view.setUint32(8 + index * 8, id, true);
  }
  return byteStringFrom(bytes);
}

/** A file-system capability set (revision 2) as the kernel stores it. */
export const CAPABILITY = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/** A tree with every kind of node and the awkward sizes of each. Data lies in `devices` of at least 64 KiB. */
export function awkwardTree(): ErofsDirectory {
  const shared = file(700, 512, { xattrs: xattrs({ "user.shared": "1" }) });
  const sharedLink = symlink("shared-target");
  const names: Record<string, ErofsNode> = {};
  for (let length = 1; length <= 255; length += 7) names["n".repeat(length)] = file(length, 0);
  const links: Record<string, ErofsNode> = {};
  for (const length of [
    1, 383, 384, 385, 447, 448, 449, 480, 481, 511, 512, 513, 960, 1023, 1024, 4095,
  ]) {
    links[`l${length}`] = symlink("t".repeat(length));
    links[`x${length}`] = symlink("u".repeat(length), {
      mtimeSec: 5,
      xattrs: xattrs({ "security.label": "v".repeat(length % 100) }),
    });
  }
  return dir(
    {
      "!before-dot": file(1, 0),
      "-dash": dir({}, { mode: 0o1777, mtimeSec: -1, mtimeNsec: 999_999_999 }),
      empty: file(0, 0, { mode: 0 }),
      "empty-dir": dir(),
      suid: file(511, 1024, { mode: 0o6755, uid: 70_000, gid: 4_294_967_294 }),
      old: file(512, 1024, { mtimeSec: -86_400 * 365, mtimeNsec: 123_456_789 }),
      future: file(513, 2048, { mtimeSec: 2 ** 33 + 1, mtimeNsec: 1 }),
      "other-device": file(1000, 4096, { device: 1 }),
      names: dir(names),
      links: dir(links),
      "hard-a": shared,
      deep: dir({ deeper: dir({ "hard-b": shared, "link-b": sharedLink }), "hard-c": shared }),
      "link-a": sharedLink,
      "bytes-\xe9\xff\x01": file(3, 0),
      "back\\slash \n": file(4, 0),
      null: special("char", [1, 3], { mode: 0o666 }),
      whiteout: special("char", [0, 0], { mode: 0 }),
      disk: special("block", [259, 0xabcde], { mode: 0o660, gid: 6 }),
      "max-device": special("char", [0xfff, 0xfffff]),
      fifo: special("fifo", [0, 0], { mode: 0o600 }),
      socket: special("socket", [0, 0], { mode: 0o700 }),
      xattrs: file(10, 0, {
        xattrs: xattrs({
          "user.a": "",
          "user.b": "v",
          "user.binary": "\0\xff\x80",
          "security.capability": CAPABILITY,
          "trusted.thing": "t",
          "system.posix_acl_access": acl([
            [1, 6, 0xffffffff],
            [2, 4, 1000],
            [4, 4, 0xffffffff],
            [0x10, 4, 0xffffffff],
            [0x20, 4, 0xffffffff],
          ]),
        }),
      }),
      "xattr-dir": dir(
        { child: file(1, 0) },
        {
          xattrs: xattrs({
            "trusted.overlay.opaque": "y",
            "user.big": "B".repeat(400),
            "system.posix_acl_default": acl([
              [1, 7, 0xffffffff],
              [4, 5, 0xffffffff],
              [0x20, 5, 0xffffffff],
            ]),
          }),
        },
      ),
      "xattr-big": file(700, 512, {
        xattrs: xattrs({
          "user.block": "C".repeat(512),
          "user.page": "D".repeat(5000),
          [`user.${"n".repeat(250)}`]: "long name",
        }),
      }),
      "xattr-huge": file(700, 512, {
        xattrs: xattrs({ "user.max": "E".repeat(0xffff), "user.then": "F".repeat(60_000) }),
      }),
    },
    { mode: 0o751, uid: 1, gid: 2, xattrs: xattrs({ "user.root": "r" }) },
  );
}

/** A random tree of `count` files, with data within the first 64 KiB of `deviceCount` devices. */
export function randomTree(seed: number, count: number, deviceCount = 1): ErofsDirectory {
  const random = new Random(seed);
  const root = dir();
  const directories: ErofsDirectory[] = [root];
  const others: ErofsNode[] = [];
  for (let number = 0; number < count; number++) {
    const parent = random.pick(directories);
    const node =
      random.below(20) === 0 && others.length > 0
        ? random.pick(others)
        : randomNode(random, deviceCount);
    parent.children.set(randomName(random, number), node);
    if (node.kind === "dir") directories.push(node);
    else others.push(node);
  }
  return root;
}

function randomName(random: Random, number: number): ByteString {
  const tail = random.pick(["", ".so", "\xc3\xa9", "\xff", " x", "-".repeat(random.below(200))]);
  return b(`${random.pick(["a", "B", "!", "~", "lib"])}${number}${tail}`);
}

function randomNode(random: Random, deviceCount: number): ErofsNode {
  const over: Partial<ErofsAttributes> = {
    mode: random.below(0o10000),
    uid: random.pick([0, 0, 1000, 65_536]),
    gid: random.pick([0, 0, 1000, 4_000_000_000]),
    mtimeSec: random.pick([0, 0, 1_700_000_000, random.below(2 ** 32), -random.below(1_000_000)]),
    mtimeNsec: random.pick([0, 0, random.below(1_000_000_000)]),
  };
  if (random.below(8) === 0) {
    over.xattrs = xattrs({ "security.thing": "s".repeat(random.below(600)), "trusted.t": "" });
  }
  switch (random.below(10)) {
    case 0:
    case 1:
    case 2:
      return dir({}, over);
    case 3:
    case 4:
      return symlink("x/".repeat(1 + random.below(random.pick([10, 300, 2000]))), {
        ...over,
        mode: 0o777,
      });
    case 5:
      return special(
        random.pick(["char", "block", "fifo", "socket"]),
        [random.below(4096), random.below(2 ** 20)],
        over,
      );
    default:
      return file(random.below(4000), 512 * random.below(100), {
        ...over,
        device: random.below(deviceCount),
      });
  }
}

/** Devices for the trees above. */
export function devicesOf(count: number): ErofsDevice[] {
  return Array.from({ length: count }, (_, index) => ({
    sizeBytes: 65_536,
    tag: `device ${index}`,
  }));
}
