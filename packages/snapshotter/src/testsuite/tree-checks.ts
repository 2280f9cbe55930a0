import assert from "node:assert/strict";
import {
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LABELS } from "./ground.ts";
import type { SnapshotCheck } from "./record-checks.ts";
import { all, assertSameTree, type Change, file, folder, owner } from "./trees.ts";

function gone(path: string): Change {
  return (directory) => rmSync(join(directory, path), { recursive: true });
}

function moved(from: string, to: string): Change {
  return (directory) => renameSync(join(directory, from), join(directory, to));
}

function linked(from: string, to: string): Change {
  return (directory) => linkSync(join(directory, from), join(directory, to));
}

function pointed(path: string, target: string): Change {
  return (directory) => symlinkSync(target, join(directory, path));
}

/** Chains whose every view, and what a container sees at last, is compared with a plain directory. */
const CHAINS: readonly (readonly [name: string, changes: readonly Change[]])[] = [
  [
    "files that change in an upper layer",
    [
      all(
        folder("etc", 0o700),
        file("etc/hosts", "mydomain 10.0.0.1"),
        file("etc/profile", "PATH=/usr/bin"),
      ),
      all(
        file("etc/hosts", "mydomain 10.0.0.2"),
        file("etc/profile", "PATH=/usr/bin", 0o666),
        folder("root", 0o700),
        file("root/.bashrc", "PATH=/usr/sbin:/usr/bin"),
      ),
    ],
  ],
  [
    "a directory that is removed and made again",
    [
      all(folder("lib", 0o700), file("lib/hidden", "")),
      all(gone("lib"), folder("lib", 0o700), file("lib/not-hidden", "")),
      file("lib/newfile", ""),
    ],
  ],
  [
    "owners that change",
    [
      all(folder("opt", 0o700), folder("opt/a", 0o700), file("opt/a/file.txt", "hello")),
      all(owner("opt", 1, 1), owner("opt/a", 1, 2), owner("opt/a/file.txt", 3, 1)),
    ],
  ],
  [
    "owners of directories, removed and made again",
    [
      all(
        ...["d1", "d2", "d3", "d4", "d5"].map((name) => folder(name, 0o700)),
        file("d4/f1", "..."),
        file("d5/f1", "..."),
        ...["d1", "d2", "d3", "d5", "d5/f1"].map((name) => owner(name, 1, 1)),
      ),
      all(owner("d2", 0, 0), gone("d3"), owner("d4", 1, 1), owner("d4/f1", 1, 1)),
      all(
        folder("d3", 0o700),
        owner("d3", 1, 1),
        gone("d5"),
        folder("d5", 0o700),
        owner("d5", 1, 1),
      ),
    ],
  ],
  [
    "deleted files",
    [all(file("foo", "foo\n", 0o777), file("foobar", "foobar\n", 0o777)), gone("foobar"), () => {}],
  ],
  [
    "files moved out of a lower layer",
    [
      all(folder("dir1", 0o700), file("dir1/f1", "Hello"), folder("dir2"), file("dir2/f2", "...")),
      all(
        folder("dir3", 0o700),
        file("dir3/f1", "Hello"),
        gone("dir1"),
        linked("dir2/f2", "dir3/f2"),
        gone("dir2/f2"),
      ),
    ],
  ],
  [
    "renamed files and directories of lower layers",
    [
      all(
        folder("dir1", 0o700),
        file("dir1/deep", "stays"),
        folder("some", 0o700),
        file("some/f1", "was here first!"),
        file("some/f2", "nothing interesting"),
      ),
      all(
        moved("dir1", "dir2"),
        file("some/f1-overwrite", "new content 1"),
        moved("some/f1-overwrite", "some/f1"),
        moved("some/f2", "some/f3"),
      ),
      all(file("dir2/more", "in the renamed one"), moved("dir2", "some/dir4")),
      all(folder("dir1"), file("dir1/new", "a new one under the old name")),
    ],
  ],
  [
    "a file in place of a directory, and the other way round",
    [
      all(folder("a"), file("a/x", "x"), file("b", "b"), pointed("c", "b"), folder("d")),
      all(gone("a"), file("a", "now a file"), gone("b"), folder("b"), file("b/y", "y")),
      all(gone("c"), folder("c"), gone("d"), pointed("d", "c"), gone("a"), pointed("a", "/none")),
    ],
  ],
];

const chainChecks = CHAINS.map(
  ([name, changes]): SnapshotCheck => ({
    name: `layers show ${name}`,
    async run(ground) {
      await ground.chain(...changes);
    },
  }),
);

/** What is seen through the mounts. */
export const treeChecks: readonly SnapshotCheck[] = [
  ...chainChecks,
  {
    name: "prepare, mount, change, commit, and again on top of it",
    async run(ground) {
      const { service } = ground;
      const initial = all(file("foo", "foo\n", 0o777), folder("a"), folder("a/b"), folder("a/b/c"));
      const next = all(file("bar", "bar\n", 0o777), file("foo", "bar\n", 0o777), gone("a/b"));
      const flat = await ground.flat();
      const first = await ground.layer("", initial);
      initial(flat);
      await ground.mounted(await ground.prepare("k", first), (directory) => {
        assertSameTree(directory, flat);
        next(directory);
        next(flat);
        assertSameTree(directory, flat);
      });
      await service.commit("second", "k", LABELS);
      await ground.viewed("second", (directory) => assertSameTree(directory, flat));
      await service.remove("second");
      await service.remove(first);
    },
  },
  {
    name: "a view can't be written to",
    async run(ground) {
      const one = await ground.layer("", file("a", "a"));
      const two = await ground.layer(one, file("b", "b"));
      const views = [
        await ground.service.view("v0", "", LABELS),
        await ground.service.view("v1", one, LABELS),
        await ground.service.view("v2", two, LABELS),
      ];
      for (const mounts of views) {
        await ground.mounted(mounts, (directory) => {
          assert.throws(() => writeFileSync(join(directory, "new"), "x"), /EROFS/);
        });
      }
    },
  },
  {
    name: "the root directory of a new snapshot has mode 755, and owner and group of its parent's",
    async run(ground) {
      const statusOf = async (parent: string): Promise<readonly [string, number, number]> => {
        const mounts = await ground.prepare(ground.name("k"), parent);
        return await ground.mounted(mounts, (directory) => {
          const { mode, uid, gid } = lstatSync(directory);
          return [(mode % 0o10000).toString(8), uid, gid];
        });
      };
      assert.deepEqual(await statusOf(""), ["755", 0, 0]);
      await ground.mounted(await ground.prepare("k"), owner("", 7, 8));
      await ground.service.commit("owned", "k", LABELS);
      assert.deepEqual(await statusOf("owned"), ["755", 7, 8]);
    },
  },
  {
    name: "mounts gives again what prepare and view gave, and leads to what was written",
    async run(ground) {
      const base = await ground.layer("", file("a", "a"));
      const top = await ground.layer(base, file("b", "b"));
      for (const parent of ["", base, top]) {
        const key = ground.name("k");
        const mounts = await ground.prepare(key, parent);
        assert.deepEqual(await ground.service.mounts(key), mounts);
        await ground.mounted(mounts, file("written", "here"));
        await ground.mounted(await ground.service.mounts(key), (directory) => {
          assert.equal(readFileSync(join(directory, "written"), "utf8"), "here");
        });
        const view = ground.name("v");
        const viewed = await ground.service.view(view, parent, LABELS);
        assert.deepEqual(await ground.service.mounts(view), viewed);
      }
    },
  },
  {
    name: "two snapshots on one parent don't see each other, mounted at the same time",
    async run(ground) {
      const base = await ground.layer("", all(folder("d"), file("d/a", "a")));
      const [one, two] = [await ground.prepare("one", base), await ground.prepare("two", base)];
      await ground.mounted(one, async (first) => {
        await ground.mounted(two, (second) => {
          writeFileSync(join(first, "d/a"), "first");
          writeFileSync(join(second, "d/b"), "second");
          assert.equal(readFileSync(join(second, "d/a"), "utf8"), "a");
          assert.equal(existsSync(join(first, "d/b")), false);
        });
      });
    },
  },
  {
    name: "many snapshots are made at once on one parent",
    async run(ground) {
      const base = await ground.layer("", file("a", "a"));
      const keys = Array.from({ length: 20 }, (_, at) => `k${at}`);
      const made = await Promise.all(keys.map((key) => ground.prepare(key, base)));
      assert.equal(new Set(made.map((mounts) => JSON.stringify(mounts))).size, keys.length);
      await Promise.all(keys.map((key) => ground.service.remove(key)));
      assert.deepEqual(await ground.names(), [base]);
    },
  },
  {
    name: "usage counts a snapshot's own content, before the commit and after it, hard links once",
    async run(ground) {
      const { service } = ground;
      const megabyte = "m".repeat(2 ** 20);
      const base = await ground.layer("", file("base", megabyte));
      const mounts = await ground.prepare("k", base);
      const empty = await service.usage("k");
      assert.equal(empty.inodes, 1);
      await ground.mounted(mounts, all(file("a", megabyte), linked("a", "b"), folder("d")));
      const active = await service.usage("k");
      assert.equal(active.inodes, 3);
      assert.ok(active.sizeBytes >= 2 ** 20, `${active.sizeBytes}`);
      assert.ok(active.sizeBytes < 2 ** 20 + 65_536, `${active.sizeBytes}`);
      await service.commit("c", "k", LABELS);
      const committed = await service.usage("c");
      assert.equal(committed.inodes, 3);
      assert.ok(Math.abs(committed.sizeBytes - active.sizeBytes) < 65_536);
      await service.view("v", "c", LABELS);
      assert.deepEqual(await service.usage("v"), { sizeBytes: 0, inodes: 0 });
    },
  },
  {
    name: "128 layers are mounted",
    async run(ground) {
      const flat = await ground.flat();
      let parent = "";
      for (let at = 0; at < 128; at += 1) {
        const change = at === 0 ? bottomOf128() : layerOf128(at);
        parent = await ground.layer(parent, change);
        change(flat);
      }
      await ground.viewed(parent, (directory) => assertSameTree(directory, flat));
      await ground.mounted(await ground.prepare("k", parent), (directory) => {
        assertSameTree(directory, flat);
        assert.equal(readdirSync(join(directory, "many")).length, 127);
      });
    },
  },
];

function bottomOf128(): Change {
  return all(
    file("bottom", "way at the bottom\n", 0o777),
    file("changes", "first\n", 0o777),
    folder("many"),
    folder("only"),
    file("only/bottom", "bye\n", 0o777),
  );
}

function layerOf128(at: number): Change {
  return all(
    file("changes", `${at} was here\n`, 0o777),
    file(`many/file-${at}`, "same\n", 0o755),
    gone("only"),
    folder("only"),
    file(`only/file-${at}`, "only me\n", 0o777),
  );
}
