// Names in a layer that try to lead out of it, and where they end up: below the root, or in an error that names the entry.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ErofsDirectory, encodeErofs } from "@soci-ts/erofs";
import type { TarEntry } from "@soci-ts/tar";
import { entry, nodeAt } from "../testing/tree-entries.ts";
import { buildLayerTree } from "./build-layer-tree.ts";
import { mergedView } from "./merged-view.ts";

/** What a case's last entry may find: links out of the root, in a circle, to a file, and a long chain. */
const SURROUNDINGS: readonly TarEntry[] = [
  entry("d", "dir"),
  entry("f", "reg"),
  entry("up", "symlink", { linkname: "../../../.." }),
  entry("abs", "symlink", { linkname: "/etc" }),
  entry("d/root", "symlink", { linkname: "/" }),
  entry("d/climb", "symlink", { linkname: "../../d/../../../etc" }),
  entry("to-file", "symlink", { linkname: "f" }),
  entry("dangling", "symlink", { linkname: "no/such/../../place" }),
  entry("self", "symlink", { linkname: "self" }),
  entry("tick", "symlink", { linkname: "tock" }),
  entry("tock", "symlink", { linkname: "tick" }),
  ...Array.from({ length: 300 }, (_, at) =>
    entry(`chain-${at}`, "symlink", { linkname: `chain-${at + 1}` }),
  ),
];

const long = "n".repeat(255);

/** Of each name of a file: the path at which it lies in the tree, or `refused`, or `nothing` for a name that makes no file. */
const NAMES: Readonly<Record<string, string>> = {
  "../x": "x",
  "../../../../../../x": "x",
  "/x": "x",
  "//x": "x",
  "/../x": "x",
  "a/../../x": "x",
  "a/./../x": "x",
  "..x": "..x",
  "...": "...",
  ". .": ". .",
  "..\\x": "..\\x",
  "~/x": "~/x",
  "$HOME/x": "$HOME/x",
  "x ": "x ",
  "x\n": "x\n",
  "": "nothing",
  "/": "nothing",
  "..": "nothing",
  "a/../..": "nothing",
  "f/x": "refused",
  "f/../x": "x",
  "to-file/x": "refused",
  "up/x": "x",
  "up/up/d/x": "d/x",
  "abs/x": "etc/x",
  "abs/../x": "x",
  "d/root/x": "x",
  "d/root/d/root/x": "x",
  "d/climb/x": "etc/x",
  "dangling/x": "place/x",
  "self/x": "refused",
  "tick/x": "refused",
  "chain-0/x": "refused",
  "chain-200/x": "chain-300/x",
  "a\0b": "refused",
  "\0": "refused",
  "a\0/x": "refused",
  [long]: long,
  [`${long}n`]: "refused",
  [`${long}n/x`]: "refused",
  [`${"d/".repeat(2_100)}x`]: "refused",
  ".wh...": "refused",
  ".wh..": "refused",
  ".wh.": "refused",
  "d/.wh.../x": "d/.wh.../x",
  ".wh..wh.x": "nothing",
  ".wh.x\0": "refused",
};

/** Of each link name, what a hard link to it is: the path of what it names, or `refused`. */
const HARD_LINKS: Readonly<Record<string, string>> = {
  f: "f",
  "../f": "f",
  "../../../f": "f",
  "/f": "f",
  "up/f": "f",
  "d/root/f": "f",
  "to-file": "to-file",
  "/etc/passwd": "refused",
  "../../etc/passwd": "refused",
  "up/etc/passwd": "refused",
  "self/f": "refused",
  "": "refused",
  "/": "refused",
  "..": "refused",
  d: "refused",
  "f\0": "refused",
  "f/": "f",
  "f/x": "refused",
};

/** Names with a slash, and those that a directory has of itself, are in no directory. */
function verifyNames(directory: ErofsDirectory): void {
  for (const [name, node] of directory.children) {
    assert.ok(!["", ".", ".."].includes(name) && !/[/\0]/.test(name), JSON.stringify(name));
    if (node.kind === "dir") verifyNames(node);
  }
}

function check(entries: readonly TarEntry[], path: string, lower?: readonly TarEntry[]): void {
  const last = entries.at(-1);
  const below = lower && mergedView([buildLayerTree(lower)]);
  if (path === "refused") {
    assert.throws(() => buildLayerTree(entries, { lower: below }), { name: "FormatError" });
    return;
  }
  const { root } = buildLayerTree(entries, { lower: below });
  verifyNames(root);
  const devices = [{ sizeBytes: 2 ** 20, tag: "tar" }];
  if (lower === undefined) encodeErofs(root, { devices });
  if (path !== "nothing") assert.equal(nodeAt(root, path)?.mtimeSec, last?.mtimeSec, path);
}

const show = (text: string): string => JSON.stringify(text.length > 60 ? text.slice(0, 60) : text);

describe("buildLayerTree() on names that lead elsewhere", () => {
  for (const [name, path] of Object.entries(NAMES)) {
    it(`puts a file ${show(name)} at ${show(path)}`, () => {
      check([...SURROUNDINGS, entry(name, "reg", { mtimeSec: 77 })], path);
    });
  }

  it("does the same for links, devices and fifos, and for directories but for what is a directory already", () => {
    for (const [name, path] of Object.entries(NAMES)) {
      for (const type of ["symlink", "char", "fifo"] as const) {
        const last = entry(name, type, { mtimeSec: 77, linkname: "t" });
        check([...SURROUNDINGS, last], path);
      }
      const isRoot = path === "nothing" && !name.includes(".wh.");
      const last = entry(name, "dir", { mtimeSec: 77 });
      check([...SURROUNDINGS, last], isRoot ? "" : path);
    }
  });

  for (const [linkname, path] of Object.entries(HARD_LINKS)) {
    it(`takes a hard link to ${show(linkname)} as one to ${show(path)}`, () => {
      const entries = [...SURROUNDINGS, entry("hard", "hardlink", { linkname })];
      check(entries, path);
      if (path === "refused") return;
      const { root } = buildLayerTree(entries);
      assert.equal(nodeAt(root, "hard"), nodeAt(root, path));
    });
  }

  it("keeps what a symbolic link says, wherever it leads, but not with a NUL in it", () => {
    for (const linkname of ["/etc/passwd", "../../../x", "/proc/self/root", "a\nb"]) {
      const { root } = buildLayerTree([entry("l", "symlink", { linkname })]);
      const node = nodeAt(root, "l");
      assert.equal(node?.kind === "symlink" && node.target, linkname);
    }
    check([entry("l", "symlink", { linkname: "a\0b" })], "refused");
  });

  it("makes directories of its own over links of lower layers, and hard links no further than the merged root", () => {
    check([entry("up/x", "reg", { mtimeSec: 77 })], "up/x", SURROUNDINGS);
    check([entry("abs/x", "reg", { mtimeSec: 77 })], "abs/x", SURROUNDINGS);
    check([entry("self/x", "reg", { mtimeSec: 77 })], "self/x", SURROUNDINGS);
    check([entry("hard", "hardlink", { linkname: "up/up/f" })], "hard", SURROUNDINGS);
    check([entry("hard", "hardlink", { linkname: "abs/passwd" })], "refused", SURROUNDINGS);
    check([entry("hard", "hardlink", { linkname: "self" })], "hard", SURROUNDINGS);
    check([entry("hard", "hardlink", { linkname: "tick/x" })], "refused", SURROUNDINGS);
  });
});
