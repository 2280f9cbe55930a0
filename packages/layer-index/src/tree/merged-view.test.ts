import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { byteStringFromText } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import { entry } from "../testing/tree-entries.ts";
import { buildLayerTree } from "./build-layer-tree.ts";
import { mergedView } from "./merged-view.ts";
import type { LayerTree, LowerView } from "./types.ts";

function view(...layers: TarEntry[][]): LowerView {
  const trees: LayerTree[] = [];
  for (const entries of layers) trees.push(buildLayerTree(entries, { lower: mergedView(trees) }));
  return mergedView(trees);
}

/** `kind mode layer` of what is at a path. */
function at(lower: LowerView, path: string): string | undefined {
  const names = path.split("/").filter((name) => name !== "");
  const found = lower.lookup(names.map(byteStringFromText));
  return found && `${found.node.kind} ${found.node.mode.toString(8)} ${found.layer}`;
}

describe("mergedView()", () => {
  const lower = view(
    [
      entry("./", "dir", { mode: 0o700 }),
      entry("merged/", "dir", { mode: 0o700 }),
      entry("merged/low", "reg"),
      entry("gone/", "dir"),
      entry("gone/low", "reg"),
      entry("cut/", "dir"),
      entry("cut/low", "reg"),
      entry("filed/", "dir"),
      entry("filed/low", "reg"),
      entry("link", "symlink", { linkname: "merged" }),
    ],
    [
      entry("./", "dir", { mode: 0o711 }),
      entry("merged/", "dir", { mode: 0o755 }),
      entry("merged/up", "reg"),
      entry(".wh.gone", "reg"),
      entry("cut/", "dir", { mode: 0o750 }),
      entry("cut/.wh..wh..opq", "reg"),
      entry("filed", "reg"),
    ],
    [
      entry("./", "dir", { mode: 0o555 }),
      entry("gone/", "dir"),
      entry("link/x", "reg"),
      entry("filed/", "dir"),
    ],
  );
  const expected: Record<string, string | undefined> = {
    "/": "dir 555 2",
    merged: "dir 755 1",
    "merged/low": "reg 644 0",
    "merged/up": "reg 644 1",
    "merged/up/x": undefined,
    none: undefined,
    cut: "dir 750 1",
    "cut/low": undefined,
    gone: "dir 755 2",
    "gone/low": undefined,
    filed: "dir 755 2",
    "filed/low": undefined,
    link: "dir 755 2",
    "link/low": undefined,
  };
  for (const [path, what] of Object.entries(expected)) {
    it(`has ${what ?? "nothing"} at ${path}`, () => {
      assert.equal(at(lower, path), what);
    });
  }

  it("does not follow links", () => {
    const links = view([
      entry("d/", "dir"),
      entry("d/f", "reg"),
      entry("l", "symlink", { linkname: "d" }),
    ]);
    assert.equal(at(links, "l"), "symlink 777 0");
    assert.equal(at(links, "l/f"), undefined);
  });

  it("has nothing, not even a root, without layers", () => {
    assert.equal(at(mergedView([]), "/"), undefined);
  });
});
