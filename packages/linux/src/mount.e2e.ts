import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ffiAvailable } from "./ffi.ts";
import { openFuseDevice } from "./fuse-mount.ts";
import { mount, unmount } from "./mount.ts";
import { findMount } from "./mount-table.ts";
import { probeKernel } from "./probe.ts";
import { runTool } from "./run-tool.ts";

const skip = probeKernel().sysAdmin.state === "ok" ? false : "needs CAP_SYS_ADMIN";

describe("mount() and unmount()", { skip }, () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "soci mount-"));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  it("mounts, finds the mount by a path with a space, and unmounts", async () => {
    await mount({
      source: "soci-test",
      target: directory,
      type: "tmpfs",
      flags: ["nosuid", "nodev"],
      data: "size=64k",
    });
    try {
      const info = findMount(directory);
      assert.equal(info?.type, "tmpfs");
      assert.match(info?.mountOptions ?? "", /nosuid/);
    } finally {
      await unmount(directory);
    }
    assert.equal(findMount(directory), undefined);
  });

  it("says that a mount is busy, and detaches it when told to", async () => {
    await mount({ source: "soci-test", target: directory, type: "tmpfs" });
    const inside = join(directory, "file");
    await writeFile(inside, "x");
    await mount({ source: inside, target: inside, type: "none", flags: ["bind"] });
    await assert.rejects(unmount(directory), (error: Error & { details?: { errno?: string } }) => {
      assert.equal(error.details?.errno, "EBUSY");
      return true;
    });
    await unmount(directory, { detach: true });
    assert.equal(findMount(directory), undefined);
  });

  it("names the errno where it can't", async () => {
    const wrongType = mount({ source: "x", target: directory, type: "no-such-fs" });
    await assert.rejects(wrongType, { code: "unimplemented" });
    await assert.rejects(unmount(directory), { code: "failed_precondition" });
    await assert.rejects(mount({ source: "x", target: join(directory, "no"), type: "tmpfs" }), {
      code: "not_found",
    });
  });

  it("has children that do the same where FFI is missing", async () => {
    const run = async (tool: "mount" | "umount", ...args: string[]): Promise<string | undefined> =>
      (await runTool(tool, ["-i", "-n", ...args])).failure;
    assert.equal(await run("mount", "-t", "tmpfs", "--", "x", directory), undefined);
    assert.equal(await run("umount", "--", directory), undefined);
    assert.match((await run("umount", "--", directory)) ?? "", /not mounted/);
  });

  it("has FFI here", () => assert.ok(ffiAvailable()));
});

describe("openFuseDevice()", { skip }, () => {
  it("gives a descriptor", async () => {
    const { close } = await import("node:fs");
    const fd = openFuseDevice();
    assert.ok(fd > 2);
    close(fd);
  });
});
