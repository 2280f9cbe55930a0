import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { openContract } from "../testing/contract-fixture.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { mountAll, unmountAll } from "../testsuite/index.ts";
import { probeOverlay } from "./overlay-features.ts";

describe("openSnapshots()", { skip: mountObstacle() }, () => {
  let directory: string;
  let root: string;
  beforeEach(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), "sn-")));
    root = join(directory, "r");
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it("keeps to its own what it makes, and leaves nothing of its trial", async () => {
    await using _ = await openContract(root);
    for (const path of [root, join(root, "snapshots")]) {
      assert.equal(statSync(path).mode % 0o10000, 0o700);
    }
    assert.equal(existsSync(join(root, "probe")), false);
  });

  it("clears a trial away that was killed half-way", async () => {
    for (const name of ["l", "u", "w", "t"]) {
      mkdirSync(join(root, "probe", name), { recursive: true });
    }
    const data = `lowerdir=${root}/probe/l,upperdir=${root}/probe/u,workdir=${root}/probe/w`;
    execFileSync("mount", ["-t", "overlay", "overlay", "-o", data, join(root, "probe/t")]);
    await using _ = await openContract(root);
    assert.equal(existsSync(join(root, "probe")), false);
  });

  it("refuses a file system that can't hold upper directories", async () => {
    const at = (name: string): string => join(directory, name);
    for (const name of ["lower", "upper", "work", "over"]) mkdirSync(at(name));
    const data = `lowerdir=${at("lower")},upperdir=${at("upper")},workdir=${at("work")}`;
    execFileSync("mount", ["-t", "overlay", "overlay", "-o", data, at("over")]);
    try {
      await assert.rejects(probeOverlay(at("over/probe"), { userXattr: false, xino: true }), {
        code: "failed_precondition",
      });
    } finally {
      execFileSync("umount", [at("over")]);
    }
  });

  it("mounts with userxattr if told so, and then sees what was removed as removed", async () => {
    await using opened = await openContract(root, { userxattr: true });
    const { service } = opened;
    const layer = async (parent: string, change: (at: string) => void): Promise<string> => {
      const name = `on ${parent}`;
      const outcome = await service.prepare("k", parent, {});
      const target = join(directory, "at");
      mkdirSync(target, { recursive: true });
      await mountAll(outcome.kind === "mounts" ? outcome.mounts : [], target);
      try {
        change(target);
      } finally {
        await unmountAll(target);
      }
      await service.commit(name, "k", {});
      return name;
    };
    const base = await layer("", (at) => {
      mkdirSync(join(at, "d"));
      writeFileSync(join(at, "d/hidden"), "");
    });
    const top = await layer(base, (at) => {
      rmSync(join(at, "d"), { recursive: true });
      mkdirSync(join(at, "d"));
    });
    const options = (await service.view("v", top, {}))[0]?.options ?? [];
    assert.ok(options.includes("userxattr"));
    assert.ok(!options.some((option) => /redirect_dir|metacopy/.test(option)));
    const target = join(directory, "at");
    await mountAll(await service.mounts("v"), target);
    try {
      assert.deepEqual(readdirSync(join(target, "d")), []);
    } finally {
      await unmountAll(target);
    }
  });

  it("gives a service that waits for its calls when it is closed, and then refuses more", async () => {
    await using opened = await openContract(root);
    const { service } = opened;
    const last = assert.rejects(service.prepare("last", "", {}), { code: "unavailable" });
    await Promise.all([service.close(), service.close()]);
    await last;
    const refusals = [
      service.prepare("k", "", {}),
      service.view("k", "", {}),
      service.mounts("last"),
      service.commit("c", "last", {}),
      service.remove("last"),
      service.stat("last"),
      service.update({ name: "last", labels: {} }, { kind: "all" }),
      service.usage("last"),
      service.cleanup(),
      service.list([])[Symbol.asyncIterator]().next(),
    ];
    for (const refusal of refusals) await assert.rejects(refusal, { code: "failed_precondition" });
  });

  it("gives a service that makes nothing when its caller has left", async () => {
    await using opened = await openContract(root);
    const abort = new AbortController();
    const made = opened.service.prepare("k", "", {}, { signal: abort.signal });
    abort.abort(new Error("left"));
    await assert.rejects(made, /left/);
    await opened.service.cleanup();
    assert.deepEqual(readdirSync(join(root, "snapshots")), []);
    await assert.rejects(opened.service.stat("k"), { code: "not_found" });
  });

  it("gives a service whose times lie between those of the caller, in nanoseconds too", async () => {
    await using opened = await openContract(root);
    for (let turn = 0; turn < 20; turn += 1) {
      const before = Date.now();
      await opened.service.prepare(`k${turn}`, "", {});
      const { createdAt } = await opened.service.stat(`k${turn}`);
      assert.ok(createdAt.getTime() > before, "a clock of nanoseconds may have been past that");
      assert.ok(createdAt.getTime() <= Date.now());
    }
  });
});
