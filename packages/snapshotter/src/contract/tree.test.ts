import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { removeTree, treeUsage } from "./tree.ts";
import { TreeWorkers } from "./tree-workers.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "soci-tree-"));
});
afterEach(() => {
  execFileSync("rm", ["-rf", root]);
});

/** Deeper than a path can be long: 60 directories with a file each, names of 100 bytes; the lower half is moved to its place. */
function makeDeepTree(directory: string): void {
  const half = (top: string): string => {
    let path = top;
    for (let depth = 0; depth < 30; depth += 1) {
      path = join(path, "d".repeat(100));
      mkdirSync(path);
      writeFileSync(join(path, "f"), "x");
    }
    return path;
  };
  const bottom = half(directory);
  const aside = `${directory}.half`;
  mkdirSync(aside);
  half(aside);
  renameSync(aside, join(bottom, "half"));
}

test("treeUsage() counts blocks as du does, hard links once", () => {
  mkdirSync(join(root, "a/b"), { recursive: true });
  writeFileSync(join(root, "a/file"), "x".repeat(100_000));
  linkSync(join(root, "a/file"), join(root, "a/b/again"));
  writeFileSync(join(root, "sparse"), "");
  truncateSync(join(root, "sparse"), 2 ** 30);
  writeFileSync(Buffer.concat([Buffer.from(join(root, "latin-")), Buffer.of(0xe9)]), "é");
  symlinkSync("/usr", join(root, "link"));
  const du = (option: string): number =>
    Number(execFileSync("du", ["-s", option, root], { encoding: "utf8" }).split("\t")[0]);
  assert.deepEqual(treeUsage(root), { sizeBytes: du("-B1"), inodes: du("--inodes") });
});

test("treeUsage() goes deeper than a path can be long", () => {
  makeDeepTree(root);
  assert.equal(treeUsage(root).inodes, 122);
});

test("treeUsage() finds nothing where nothing is", () => {
  assert.deepEqual(treeUsage(join(root, "none")), { sizeBytes: 0, inodes: 0 });
});

test("removeTree() deletes all of a tree, and nothing that a link points to", () => {
  const [doomed, other] = [join(root, "doomed"), join(root, "other")];
  mkdirSync(join(other, "x"), { recursive: true });
  mkdirSync(join(doomed, "a"), { recursive: true, mode: 0o500 });
  symlinkSync(other, join(doomed, "a/link"));
  makeDeepTree(doomed);
  removeTree(doomed);
  assert.deepEqual(readdirSync(root), ["other"]);
  assert.ok(existsSync(join(other, "x")));
  removeTree(doomed);
});

test("TreeWorkers shares a walk, goes on after it was closed, and says what went wrong", async () => {
  await using workers = new TreeWorkers();
  writeFileSync(join(root, "a"), "x");
  const [one, two] = await Promise.all([workers.usage(root), workers.usage(root)]);
  assert.equal(one, two);
  assert.equal(one.inodes, 2);
  assert.equal((await workers.usage(join(root, "none"))).inodes, 0);
  await assert.rejects(workers.usage(`${root}/${"x".repeat(300)}`), { code: "internal" });
  const abort = new AbortController();
  const left = workers.usage(root, abort.signal);
  abort.abort(new Error("left"));
  await assert.rejects(left, /left/);
  await workers[Symbol.asyncDispose]();
  await workers.remove(root);
  assert.equal(existsSync(root), false);
  mkdirSync(root);
  rmSync(root, { recursive: true });
});
