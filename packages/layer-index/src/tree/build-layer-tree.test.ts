import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { encodeErofs } from "@soci-ts/erofs";
import type { TarEntry } from "@soci-ts/tar";
import { entry, nodeAt, treeLines } from "../testing/tree-entries.ts";
import { buildLayerTree } from "./build-layer-tree.ts";
import { mergedView } from "./merged-view.ts";
import type { LayerTree } from "./types.ts";

const ROOT = entry("./", "dir", { mode: 0o755, mtimeSec: 0 });
const ROOT_LINE = "/ dir 755 0:0 0.0 {}";

/** Builds a stack of layers, bottom first, each with its root named; returns the topmost. */
function build(...layers: TarEntry[][]): LayerTree {
  const trees: LayerTree[] = [];
  for (const entries of layers) {
    const lower = trees.length > 0 ? mergedView(trees) : undefined;
    trees.push(buildLayerTree([ROOT, ...entries], { lower }));
  }
  return trees.at(-1)!;
}

function lines(...layers: TarEntry[][]): string[] {
  return treeLines(build(...layers).root).filter((line) => line !== ROOT_LINE);
}

describe("buildLayerTree() on one layer", () => {
  it("keeps every kind of entry with its attributes", () => {
    const attributes = { uid: 7, gid: 8, mtimeSec: 5, mtimeNsec: 9 };
    const tree = lines([
      entry("d/", "dir", { mode: 0o1777, ...attributes }),
      entry("d/f", "reg", { mode: 0o6755, sizeBytes: 10, dataOffset: 1024, ...attributes }),
      entry("l", "symlink", { linkname: "d/f", mode: 0o600, ...attributes }),
      entry("c", "char", { devmajor: 1, devminor: 3 }),
      entry("b", "block", { devmajor: 8, devminor: 1 }),
      entry("p", "fifo"),
    ]);
    assert.deepEqual(tree, [
      "/b block 644 0:0 1000.0 8:1 {}",
      "/c char 644 0:0 1000.0 1:3 {}",
      "/d dir 1777 7:8 5.9 {}",
      "/d/f reg 6755 7:8 5.9 0@1024+10 {}",
      "/l symlink 777 7:8 5.9 -> d/f {}",
      "/p fifo 644 0:0 1000.0 {}",
    ]);
  });

  it("cleans names and keeps them inside the root", () => {
    const names = ["/a", "./b", "x/../c", "../../d", "e//./f", "./g/../../h"];
    const tree = build([entry("e", "dir"), ...names.map((name) => entry(name, "reg"))]);
    assert.deepEqual([...tree.root.children.keys()], ["e", "a", "b", "c", "d", "h"]);
    assert.equal(nodeAt(tree.root, "e/f")?.kind, "reg");
    assert.equal(tree.dependsOnLower, false);
  });

  for (const name of [".", "./", "/", "a/.."]) {
    it(`gives the root the attributes of a directory entry "${name}"`, () => {
      const { root, dependsOnLower } = buildLayerTree([
        entry(name, "dir", { mode: 0o500, uid: 3, mtimeSec: 4 }),
      ]);
      assert.deepEqual(treeLines(root), ["/ dir 500 3:0 4.0 {}"]);
      assert.equal(dependsOnLower, false);
    });
  }

  it("lets the last of equal names win, and a directory over a directory merge", () => {
    const tree = lines([
      entry("f", "reg", { dataOffset: 512, xattrs: { "user.old": "1" } }),
      entry("f", "reg", { dataOffset: 1024, mode: 0o600 }),
      entry("d", "dir", { mode: 0o700, xattrs: { "user.a": "1", "user.b": "1" } }),
      entry("d/kept", "reg"),
      entry("d", "dir", { mode: 0o711, mtimeSec: 7, xattrs: { "user.b": "2" } }),
    ]);
    assert.deepEqual(tree, [
      "/d dir 711 0:0 7.0 {user.a=1,user.b=2}",
      "/d/kept reg 644 0:0 1000.0 0@512+1 {}",
      "/f reg 600 0:0 1000.0 0@1024+1 {}",
    ]);
  });

  it("replaces a directory by a file with all in it, a file by a directory, a link by a file", () => {
    const tree = lines([
      entry("a", "dir", { mtimeSec: 55 }),
      entry("a/b", "reg"),
      entry("a", "reg", { mtimeSec: 66 }),
      entry("c", "reg"),
      entry("c", "dir"),
      entry("l", "symlink", { linkname: "c" }),
      entry("l", "reg"),
    ]);
    assert.deepEqual(tree, [
      // Directories' times are set last and by name, also on what took the name over.
      "/a reg 644 0:0 55.0 0@512+1 {}",
      "/c dir 755 0:0 1000.0 {}",
      "/l reg 644 0:0 1000.0 0@512+1 {}",
    ]);
  });

  it("follows links in the parents of a name, inside the root", () => {
    const tree = build([
      entry("usr/", "dir"),
      entry("usr/bin/", "dir"),
      entry("bin", "symlink", { linkname: "usr/bin" }),
      entry("abs", "symlink", { linkname: "/bin/../bin" }),
      entry("out", "symlink", { linkname: "../../../usr" }),
      entry("bin/one", "reg"),
      entry("abs/two", "reg"),
      entry("out/three", "reg"),
      entry("bin", "symlink", { linkname: "elsewhere" }),
      entry("bin/four", "reg"),
    ]);
    for (const path of ["usr/bin/one", "usr/bin/two", "usr/three", "elsewhere/four"]) {
      assert.equal(nodeAt(tree.root, path)?.kind, "reg", path);
    }
    assert.equal(tree.dependsOnLower, true, "elsewhere is implied");
  });

  it("makes implied parents 0755, root's, of time 0 where nothing is below, and says that it asked", () => {
    const tree = build([entry("a/b/c", "reg")]);
    assert.deepEqual(treeLines(tree.root), [
      ROOT_LINE,
      "/a dir 755 0:0 0.0 {}",
      "/a/b dir 755 0:0 0.0 {}",
      "/a/b/c reg 644 0:0 1000.0 0@512+1 {}",
    ]);
    assert.equal(tree.dependsOnLower, true);
    assert.equal(buildLayerTree([entry("f", "reg")]).dependsOnLower, true, "the root is implied");
  });

  it("makes hard links one node, which has the last name's attributes", () => {
    const tree = build([
      entry("a", "reg", { mode: 0o4755, xattrs: { "user.k": "v", "security.capability": "c" } }),
      entry("sub/", "dir"),
      entry("sub/b", "hardlink", { linkname: "./a", mode: 0o600, uid: 5, mtimeSec: 9 }),
      entry("l", "symlink", { linkname: "a" }),
      entry("l2", "hardlink", { linkname: "/l", uid: 6, mode: 0o644 }),
    ]);
    assert.equal(nodeAt(tree.root, "a"), nodeAt(tree.root, "sub/b"));
    assert.equal(nodeAt(tree.root, "l"), nodeAt(tree.root, "l2"));
    assert.deepEqual(treeLines(tree.root).slice(1, 3), [
      "/a reg 600 5:0 9.0 0@512+1 {user.k=v}",
      "/l symlink 777 6:0 1000.0 -> a {}",
    ]);
    assert.equal(tree.dependsOnLower, false);
  });

  it("resolves a hard link's target through links in this layer, and takes a link to itself for nothing", () => {
    const tree = build([
      entry("real/", "dir"),
      entry("real/f", "reg"),
      entry("way", "symlink", { linkname: "real" }),
      entry("g", "hardlink", { linkname: "way/f" }),
      entry("g", "hardlink", { linkname: "g" }),
    ]);
    assert.equal(nodeAt(tree.root, "g"), nodeAt(tree.root, "real/f"));
  });

  it("takes xattrs of SCHILY records that setxattr would take, and drops those that steer overlayfs", () => {
    const xattrs = {
      "user.k": "",
      "user.overlay.opaque": "y",
      "trusted.overlay.redirect": "/etc",
      "trusted.any": "t",
      "security.capability": "cap",
      "system.posix_acl_access": "acl",
      "system.posix_acl_default": "acl",
      "system.nfs4_acl": "x",
      plain: "x",
      "user.": "x",
    };
    const tree = lines([
      entry("f", "reg", { xattrs }),
      entry("d", "dir", { xattrs }),
      entry("l", "symlink", { linkname: "f", xattrs }),
      entry("libarchive", "reg", {
        paxRecords: new Map([["LIBARCHIVE.xattr.user.k", "dg=="]]),
      } as object),
    ]);
    assert.deepEqual(
      tree.map((text) => text.slice(text.indexOf("{"))),
      [
        "{security.capability=cap,system.posix_acl_access=acl,system.posix_acl_default=acl,user.k=}",
        "{security.capability=cap,system.posix_acl_access=acl,user.k=}",
        "{security.capability=cap}",
        "{}",
      ],
    );
  });

  it("brings times before 1970 and after 2262 to 0, owners to 32 bits, modes to permissions", () => {
    const tree = lines([
      entry("early", "reg", { mtimeSec: -1, mtimeNsec: 5 }),
      entry("late", "reg", { mtimeSec: 9_223_372_037, mtimeNsec: 5 }),
      entry("latest", "reg", { mtimeSec: 9_223_372_036, mtimeNsec: 854_775_807 }),
      entry("owner", "reg", { uid: -2, gid: 2 ** 32 + 5, mode: 0o100644 }),
    ]);
    assert.deepEqual(
      tree.map((text) => text.split(" ").slice(2, 5).join(" ")),
      ["644 0:0 0.0", "644 0:0 0.0", "644 0:0 9223372036.854775807", "644 4294967294:5 1000.0"],
    );
  });

  it("turns markers into opaque directories, and leaves out whiteouts of what is not below", () => {
    const tree = build([
      entry(".wh.gone", "reg", { uid: 4, mtimeSec: 6 }),
      entry("d/", "dir"),
      entry("d/.wh.gone", "reg"),
      entry("d/.wh..wh..opq", "reg"),
      entry("d/", "dir", { mode: 0o700 }),
      entry(".wh..wh.plnk", "reg"),
      entry(".wh..wh..opq", "reg"),
    ]);
    assert.deepEqual(treeLines(tree.root), [
      "/ dir 755 0:0 0.0 {trusted.overlay.opaque=y}",
      "/d dir 700 0:0 1000.0 {trusted.overlay.opaque=y}",
    ]);
    assert.equal(tree.dependsOnLower, true);
  });

  it("lets a file win over the whiteout of its name, in any order", () => {
    const whiteouts = ["f", "d", "implied"].map((name) => entry(`.wh.${name}`, "reg"));
    const files = [entry("f", "reg"), entry("d", "dir"), entry("implied/x", "reg")];
    const expected = [
      "/d dir 755 0:0 1000.0 {trusted.overlay.opaque=y}",
      "/f reg 644 0:0 1000.0 0@512+1 {}",
      "/implied dir 755 0:0 0.0 {trusted.overlay.opaque=y}",
      "/implied/x reg 644 0:0 1000.0 0@512+1 {}",
    ];
    assert.deepEqual(lines([...whiteouts, ...files]), expected);
    assert.deepEqual(lines([...files, ...whiteouts, ...whiteouts]), expected);
  });

  it("gives a tree that encodeErofs() takes", () => {
    const tree = build([
      entry("a/b", "reg", { sizeBytes: 100, dataOffset: 512 }),
      entry("h", "hardlink", { linkname: "a/b" }),
    ]);
    assert.ok(
      encodeErofs(tree.root, { devices: tree.devices.map(() => ({ sizeBytes: 1024 })) }).length > 0,
    );
  });
});

describe("buildLayerTree() over other layers", () => {
  const base = [
    entry("./", "dir", { mode: 0o555, mtimeSec: 77 }),
    entry("tmp/", "dir", {
      mode: 0o1777,
      uid: 3,
      mtimeSec: 5,
      mtimeNsec: 6,
      xattrs: { "user.k": "v" },
    }),
    entry("usr/", "dir"),
    entry("usr/bin/", "dir", { mode: 0o711 }),
    entry("usr/bin/sh", "reg", {
      dataOffset: 2048,
      sizeBytes: 9,
      mode: 0o755,
      xattrs: { "user.s": "1" },
    }),
    entry("bin", "symlink", { linkname: "usr/bin" }),
    entry("file", "reg"),
  ];

  it("gives implied parents and an unnamed root what they have below", () => {
    const lower = mergedView([buildLayerTree(base)]);
    const tree = buildLayerTree([entry("tmp/x", "reg"), entry("usr/bin/new", "reg")], { lower });
    assert.equal(tree.dependsOnLower, true);
    assert.deepEqual(
      treeLines(tree.root).filter((text) => text.includes(" dir ")),
      [
        "/ dir 555 0:0 77.0 {}",
        "/tmp dir 1777 3:0 5.6 {user.k=v}",
        "/usr dir 755 0:0 1000.0 {}",
        "/usr/bin dir 711 0:0 1000.0 {}",
      ],
    );
  });

  it("makes a directory over a link of a lower layer, with the attributes of where the link leads", () => {
    const tree = build(base, [entry("bin/foo", "reg")]);
    assert.deepEqual(treeLines(tree.root), [
      ROOT_LINE,
      "/bin dir 711 0:0 1000.0 {}",
      "/bin/foo reg 644 0:0 1000.0 0@512+1 {}",
    ]);
  });

  it("does not ask below when the layer describes all its directories", () => {
    assert.equal(build(base, [entry("tmp", "dir"), entry("tmp/x", "reg")]).dependsOnLower, false);
  });

  it("turns whiteouts of what is below into devices 0:0", () => {
    const below = build([
      entry("./", "dir"),
      entry("gone", "reg"),
      entry("d/", "dir"),
      entry("d/gone", "reg"),
      entry("cut/", "dir"),
      entry("cut/gone", "reg"),
    ]);
    const tree = buildLayerTree(
      [
        entry("./", "dir"),
        entry(".wh.gone", "reg", { uid: 4, mtimeSec: 6 }),
        entry(".wh.never", "reg"),
        entry("d/.wh.gone", "reg"),
        entry("d/.wh.never", "reg"),
        entry("cut/.wh..wh..opq", "reg"),
        entry("cut/.wh.gone", "reg"),
      ],
      { lower: mergedView([below]) },
    );
    assert.deepEqual(
      treeLines(tree.root).filter((line) => line.includes(" char ")),
      ["/d/gone char 0 0:0 1000.0 0:0 {}", "/gone char 0 4:0 6.0 0:0 {}"],
    );
  });

  it("uses the defaults where the path is a file, a whiteout or nothing below", () => {
    const middle = [entry(".wh.tmp", "reg")];
    for (const path of ["file/x", "tmp/x", "none/x"]) {
      const tree = build(base, middle, [entry(path, "reg")]);
      assert.match(treeLines(tree.root)[1] ?? "", / dir 755 0:0 0\.0 \{\}$/, path);
    }
  });

  it("sees through several layers, and not into what they hide", () => {
    const opaque = [entry("usr", "dir", { mode: 0o750 }), entry("usr/.wh..wh..opq", "reg")];
    const tree = build(base, opaque, [entry("usr/bin/x", "reg")]);
    assert.deepEqual(treeLines(tree.root).slice(1, 3), [
      "/usr dir 750 0:0 1000.0 {}",
      "/usr/bin dir 755 0:0 0.0 {}",
    ]);
  });

  it("brings a lower file up for a hard link: both names, one node, its data on the lower layer's device", () => {
    const tree = build(
      base,
      [entry("other", "dir")],
      [entry("dash", "hardlink", { linkname: "bin/sh", mode: 0o700, mtimeSec: 3 })],
    );
    assert.deepEqual(tree.devices, ["self", 0]);
    assert.equal(tree.dependsOnLower, true);
    assert.equal(nodeAt(tree.root, "usr/bin/sh"), nodeAt(tree.root, "dash"));
    assert.deepEqual(treeLines(tree.root), [
      ROOT_LINE,
      "/dash reg 700 0:0 3.0 1@2048+9 {user.s=1}",
      "/usr dir 755 0:0 1000.0 {}",
      "/usr/bin dir 711 0:0 1000.0 {}",
      "/usr/bin/sh reg 700 0:0 3.0 1@2048+9 {user.s=1}",
    ]);
  });

  it("finds the data of a file that a layer in between brought up", () => {
    const tree = build(
      base,
      [entry("dash", "hardlink", { linkname: "usr/bin/sh" }), entry("own", "reg")],
      [
        entry("ash", "hardlink", { linkname: "dash" }),
        entry("mine", "hardlink", { linkname: "own" }),
      ],
    );
    assert.deepEqual(tree.devices, ["self", 0, 1]);
    const devices = ["ash", "dash", "mine"].map((name) => {
      const node = nodeAt(tree.root, name);
      return node?.kind === "reg" ? tree.devices[node.device] : undefined;
    });
    assert.deepEqual(devices, [0, 0, 1]);
  });

  it("leaves the lower trees as they were", () => {
    const bottom = buildLayerTree(base);
    const before = treeLines(bottom.root);
    buildLayerTree(
      [
        entry("dash", "hardlink", { linkname: "usr/bin/sh", mode: 0, xattrs: { "user.new": "1" } }),
        entry("tmp/x", "reg"),
        entry("tmp", "dir", { mode: 0, xattrs: { "user.new": "1" } }),
      ],
      { lower: mergedView([bottom]) },
    );
    assert.deepEqual(treeLines(bottom.root), before);
  });
});

describe("buildLayerTree() on what cannot be unpacked", () => {
  const deep = `${"d/".repeat(2100)}f`;
  const bad: Record<string, TarEntry[][]> = {
    "a file as a parent": [[entry("f", "reg"), entry("f/x", "reg")]],
    "links in a circle": [
      [
        entry("a", "symlink", { linkname: "b" }),
        entry("b", "symlink", { linkname: "a" }),
        entry("a/x", "reg"),
      ],
    ],
    "a hard link to nothing": [[entry("h", "hardlink", { linkname: "none" })]],
    "a hard link to nothing in any layer": [
      [entry("f", "reg")],
      [entry("h", "hardlink", { linkname: "none" })],
    ],
    "a hard link to what this layer removes": [
      [entry("f", "reg")],
      [entry(".wh.f", "reg"), entry("h", "hardlink", { linkname: "f" })],
    ],
    "a hard link to a directory": [[entry("d", "dir"), entry("h", "hardlink", { linkname: "d" })]],
    "a hard link to a directory below": [
      [entry("d", "dir")],
      [entry("h", "hardlink", { linkname: "d" })],
    ],
    "a hard link to the root": [[entry("h", "hardlink", { linkname: "/" })]],
    "a whiteout without a name": [[entry("d/.wh.", "reg")]],
    "a whiteout of ..": [[entry(".wh...", "reg")]],
    "a name of 256 bytes": [[entry("n".repeat(256), "reg")]],
    "an implied name of 256 bytes": [[entry(`${"n".repeat(256)}/x`, "reg")]],
    "a path that is too deep": [[entry(deep, "reg")]],
    "an empty link": [[entry("l", "symlink")]],
    "a link of 4096 bytes": [[entry("l", "symlink", { linkname: "x".repeat(4096) })]],
    "a device number above 12 bits": [[entry("c", "char", { devmajor: 4096 })]],
    "data that is not aligned": [[entry("f", "reg", { dataOffset: 100 })]],
  };
  for (const [name, layers] of Object.entries(bad)) {
    it(`refuses ${name}`, () => {
      assert.throws(() => build(...layers), FormatError);
    });
  }

  it("names the entry and its header's place", () => {
    const entries = [entry("f", "reg"), entry("f/\u00e9", "reg", { headerOffset: 4096 })];
    assert.throws(() => buildLayerTree(entries), { offset: 4096, message: /"f\/é"/ });
  });

  it("stops at the limits", () => {
    const limits = { maxNodes: 10, maxSteps: 1000 };
    const exhausted = { code: "resource_exhausted" };
    assert.throws(() => buildLayerTree([entry("a/".repeat(11), "dir")], { limits }), exhausted);
    const links = [entry("d", "dir"), entry("l0", "symlink", { linkname: "d" })];
    for (let i = 1; i < 8; i++)
      links.push(entry(`l${i}`, "symlink", { linkname: `l${i - 1}/../l${i - 1}` }));
    const uses = Array.from({ length: 200 }, () => entry("l7/x", "reg"));
    assert.throws(
      () => buildLayerTree([...links, ...uses], { limits: { maxNodes: 1000, maxSteps: 1000 } }),
      exhausted,
    );
  });

  it("takes a layer of 100,000 entries in a second or so", () => {
    const entries = Array.from({ length: 100_000 }, (_, i) =>
      entry(`usr/lib/d${i % 100}/sub${i % 1000}/file${i}`, "reg"),
    );
    const start = performance.now();
    buildLayerTree(entries);
    assert.ok(performance.now() - start < 5000);
  });
});
