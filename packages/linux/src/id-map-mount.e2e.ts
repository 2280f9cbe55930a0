import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { idMapMount } from "./id-map-mount.ts";
import { mount, unmount } from "./mount.ts";
import { findMount } from "./mount-table.ts";
import { probeKernel } from "./probe.ts";
import { closeUserNamespace, openUserNamespace, parseIdRanges } from "./user-namespace.ts";

const { sysAdmin, erofsIdMapped } = probeKernel();
const missing = [sysAdmin, erofsIdMapped].find(({ state }) => state !== "ok");
const skip = missing === undefined ? false : missing.found;

describe("idMapMount()", { skip }, () => {
  let directory = "";
  let source = "";
  let target = "";
  let userNamespace = -1;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "soci-idmap-"));
    source = join(directory, "from");
    target = join(directory, "to");
    await mkdir(source);
    await mkdir(target);
    await writeFile(join(source, "file"), "x");
    await chown(join(source, "file"), 5, 7);
    userNamespace = await openUserNamespace({
      uids: parseIdRanges("0:100000:1000"),
      gids: parseIdRanges("0:200000:6\n6:300000:10"),
    });
  });
  after(async () => {
    if (findMount(target) !== undefined) await unmount(target, { detach: true });
    closeUserNamespace(userNamespace);
    await rm(directory, { recursive: true });
  });

  it("shifts owners at the second place only", async () => {
    idMapMount(source, target, userNamespace);
    const shifted = statSync(join(target, "file"));
    assert.deepEqual([shifted.uid, shifted.gid], [100_005, 300_001]);
    const plain = statSync(join(source, "file"));
    assert.deepEqual([plain.uid, plain.gid], [5, 7]);
    await unmount(target);
  });

  it("names the file system that can't", async () => {
    assert.throws(() => idMapMount("/proc", target, userNamespace), {
      code: "unimplemented",
      message: /proc can't be id-mapped/,
    });
    assert.equal(findMount(target), undefined);
  });

  it("mounts nothing where the target is missing", () => {
    assert.throws(() => idMapMount(source, join(directory, "no"), userNamespace), {
      code: "not_found",
    });
  });

  it("leaves what is mounted below out", async () => {
    const below = join(source, "below");
    await mkdir(below);
    await mount({ source: "soci-test", target: below, type: "tmpfs" });
    try {
      await writeFile(join(below, "hidden"), "");
      idMapMount(source, target, userNamespace);
      assert.equal(existsSync(join(target, "below", "hidden")), false);
      await unmount(target);
    } finally {
      await unmount(below);
    }
  });
});
