import { succeeds, testHostileReaders } from "@soci-ts/testkit";
import { encodeErofs } from "./encode.ts";
import { EROFS_SUPER_OFFSET, SUPER } from "./format.ts";
import { ErofsReader } from "./reader.ts";
import { awkwardTree, b, devicesOf, dir, file, symlink, xattrs } from "./testing/trees.ts";

const SMALL = dir({
  a: file(600, 512, { xattrs: xattrs({ "user.k": "value", "security.capability": "c" }) }),
  l: symlink("target"),
  long: symlink("t".repeat(700)),
  sub: dir(Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`name-${i}`, file(i, 0)]))),
});
const TINY = dir({
  a: file(600, 512, { xattrs: xattrs({ "user.k": "value" }) }),
  l: symlink("t".repeat(600)),
  sub: dir({ "name-3": file(1, 0) }),
});
/** A directory of a hostile image may hold itself: so a walk needs a bound. */
const MOST_NODES = 40;
const CODES = ["failed_precondition"];

/** Calls everything the reader has on everything it can reach, up to a bound: what a FUSE server would do. */
function readAll(image: Uint8Array): void {
  const reader = new ErofsReader(image);
  const nids = [reader.rootNid];
  const seen = new Set(nids);
  const attempt = (action: () => void): boolean => succeeds(action, CODES);
  for (const nid of nids) {
    attempt(() => reader.xattrs(nid));
    attempt(() => {
      for (const entry of reader.readDirectory(nid)) {
        if (seen.size > MOST_NODES) break;
        if (!seen.has(entry.nid)) nids.push(entry.nid);
        seen.add(entry.nid);
      }
    });
    attempt(() => reader.readLink(nid));
    attempt(() => reader.extent(nid));
    attempt(() => reader.lookup(nid, b("name-3")));
    attempt(() => reader.inode(nid));
  }
}

/** Writes the image's length where it says how long it is. */
function seal(image: Uint8Array): void {
  const at = EROFS_SUPER_OFFSET + SUPER.blockCount;
  if (image.length < at + 4) return;
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  view.setUint32(at, Math.floor(image.length / 512), true);
}

const seeds = [TINY, SMALL, awkwardTree()].map((root) =>
  encodeErofs(root, { devices: devicesOf(2) }),
);

testHostileReaders(new URL("../testdata/", import.meta.url), [
  {
    name: "erofs",
    seeds,
    seal,
    hot: (image) => [
      [EROFS_SUPER_OFFSET, EROFS_SUPER_OFFSET + SUPER.size],
      [1024, Math.min(image.length, 16_384)],
    ],
    tokens: ["name-3", "user.", "\0", "/", ".."],
    codes: CODES,
    read: readAll,
  },
]);
