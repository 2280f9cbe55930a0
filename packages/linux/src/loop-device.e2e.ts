import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { attachLoop, attachLoopByChild, type LoopDevice, listLoopDevices } from "./loop-device.ts";
import { mount, unmount } from "./mount.ts";
import { probeKernel } from "./probe.ts";
import { setReadAhead } from "./read-ahead.ts";

const { sysAdmin, erofsOnLoop } = probeKernel();
const missing = [sysAdmin, erofsOnLoop].find(({ state }) => state !== "ok");
const skip = missing === undefined ? false : missing.found;

const loopDevicesOf = (file: string): string[] =>
  listLoopDevices().flatMap((loop) => (loop.file === file ? [loop.path] : []));

describe("attachLoop()", { skip }, () => {
  let directory = "";
  let file = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "soci-loop-"));
    file = join(directory, "file");
    await writeFile(file, "x".repeat(1024));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  it("shows the file, read-only, and goes when let go of", async () => {
    const device = await attachLoop(file);
    assert.equal(readFileSync(device.path, "utf8"), "x".repeat(1024));
    assert.deepEqual(loopDevicesOf(file), [device.path]);
    await assert.rejects(writeFile(device.path, "y"), { code: "EPERM" });
    assert.equal(execFileSync("blockdev", ["--getss", device.path]).toString(), "512\n");
    setReadAhead(device.bdi, 0);
    assert.equal(readFileSync(`/sys/class/bdi/${device.bdi}/read_ahead_kb`, "utf8"), "0\n");
    await device[Symbol.asyncDispose]();
    assert.deepEqual(loopDevicesOf(file), []);
  });

  for (const attach of [attachLoop, attachLoopByChild]) {
    it(`stays while a file system is mounted from it: ${attach.name}`, async () => {
      const image = join(directory, "image");
      await writeFile(image, "");
      await truncate(image, 2 ** 20);
      execFileSync("mkfs.ext4", ["-q", "-F", "-O", "^has_journal", image]);
      const target = await mkdtemp(join(directory, "mnt-"));
      const device = await attach(image);
      try {
        await mount({ source: device.path, target, type: "ext4", flags: ["ro"] });
      } finally {
        await device[Symbol.asyncDispose]();
      }
      assert.deepEqual(loopDevicesOf(image), [device.path]);
      await unmount(target);
      assert.deepEqual(loopDevicesOf(image), []);
    });
  }

  it("gives each of many callers a device of its own", async () => {
    const devices: LoopDevice[] = [];
    try {
      for (let at = 0; at < 12; at += 1) devices.push(await attachLoop(file));
      assert.equal(new Set(devices.map(({ path }) => path)).size, 12);
    } finally {
      for (const device of devices) await device[Symbol.asyncDispose]();
    }
    assert.deepEqual(loopDevicesOf(file), []);
  });

  it("says which file is not there", async () => {
    await assert.rejects(attachLoop(join(directory, "no")), { code: "not_found" });
  });
});
