import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { delay } from "@soci-ts/core";
import { findMount, listLoopDevices, probeKernel, readMountTable, unmount } from "@soci-ts/linux";
import type { ErofsDoor, ErofsLayerMount } from "../erofs-mount.ts";
import { serveHere } from "../testing/serve-here.ts";
import { TINY_CONTENTS, type TinyLayer, writeTinyLayer } from "../testing/tiny-layer.ts";
import { type MountHelper, type MountHelperOptions, startMountHelper } from "./mount-helper.ts";

const { sysAdmin, erofs, erofsFileBacked, erofsOnLoop } = probeKernel();
const missing = [sysAdmin, erofs].find(({ state }) => state !== "ok");
const skip = missing === undefined ? false : missing.found;
const DOORS: readonly ErofsDoor[] = [
  ...(erofsFileBacked.state === "ok" ? (["erofs"] as const) : []),
  ...(erofsOnLoop.state === "ok" ? (["loop"] as const) : []),
];

const COMMAND: MountHelperOptions = {
  argv: [
    process.execPath,
    fileURLToPath(new URL("../testing/mount-helper-child.js", import.meta.url)),
  ],
  environment: { PATH: "/usr/bin:/bin" },
};

/** Helper processes of this process. */
function helpers(): readonly number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8")
    .trim()
    .split(" ");
  return children
    .filter((pid) => pid !== "")
    .map(Number)
    .filter(isHelper);
}

function isHelper(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("mount-helper-child");
  } catch {
    return false; // gone
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !condition(); turn += 1) await delay(10);
  assert.ok(condition());
}

describe("MountHelper", { skip }, () => {
  let directory = "";
  let target = "";
  let layer: TinyLayer;
  let helper: MountHelper;
  beforeEach(async () => {
    directory = await mkdtemp("/run/soci-helper-");
    target = join(directory, "mnt");
    await mkdir(target);
    layer = await writeTinyLayer(directory);
    helper = startMountHelper(COMMAND);
  });
  afterEach(async () => {
    await helper[Symbol.asyncDispose]();
    const left = readMountTable().filter((info) => info.mountPoint.startsWith(`${directory}/`));
    for (const { mountPoint } of left.reverse()) await unmount(mountPoint, { detach: true });
    await rm(directory, { recursive: true });
  });

  const requestOf = (door: ErofsDoor, changed: Partial<ErofsLayerMount> = {}): ErofsLayerMount => ({
    ...{
      door,
      source: layer.source,
      devices: layer.devices,
      target,
      layerDigest: "sha256:abc",
      readAhead: "off",
    },
    ...changed,
  });
  const loops = (): number =>
    listLoopDevices().filter(({ file }) => file.startsWith(directory)).length;
  /** Something to read that never comes. */
  const fifo = (name: string): string => {
    const path = join(directory, name);
    execFileSync("mkfifo", [path]);
    return path;
  };

  for (const door of DOORS) {
    it(`mounts and unmounts a layer (${door})`, async () => {
      await helper.mountErofs(requestOf(door));
      assert.equal(findMount(target)?.type, "erofs");
      assert.equal(await readFile(join(target, "one"), "utf8"), TINY_CONTENTS["one"]);
      await helper.unmount(target);
      await helper.unmount(target);
      assert.equal(findMount(target), undefined);
      assert.equal(loops(), 0);
    });
  }

  it("binds, and says what is busy", async () => {
    await helper.bind(directory, target, { flags: ["ro"] });
    await assert.rejects(writeFile(join(target, "x"), ""), { code: "EROFS" });
    const user = execFile("sleep", ["60"], { cwd: target });
    try {
      await until(() => user.pid !== undefined);
      await assert.rejects(helper.unmount(target), { code: "failed_precondition" });
      await helper.unmount(target, { detach: true });
    } finally {
      user.kill();
    }
  });

  it("hands errors on", async () => {
    const image = join(directory, "damaged");
    await writeFile(image, Buffer.alloc(8192));
    const mounting = helper.mountErofs(requestOf(DOORS[0] ?? "loop", { source: image }));
    await assert.rejects(mounting, { details: { errno: "EINVAL" }, message: /layer sha256:abc/ });
    await assert.rejects(helper.preload(join(directory, "no")), { code: "not_found" });
    assert.equal(helpers().length, 1);
  });

  it("goes on while one call hangs, and gives that up in time", async () => {
    await using hasty = startMountHelper({ ...COMMAND, deadlineMs: 1500 });
    const hanging = hasty.preload(fifo("never"));
    const rejected = assert.rejects(hanging, { code: "deadline_exceeded" });
    await hasty.preload(layer.source);
    assert.equal(helpers().length, 2);
    await rejected;
    await until(() => helpers().length === 1);
    await hasty.preload(layer.source);
  });

  it("gives a call up that is aborted", async () => {
    const abort = new AbortController();
    const hanging = helper.preload(fifo("never"), { signal: abort.signal });
    await until(() => helpers().length === 1);
    abort.abort();
    await assert.rejects(hanging, { name: "AbortError" });
    await until(() => helpers().length === 0);
  });

  it("starts a new process in place of one that died", async () => {
    await helper.preload(layer.source);
    process.kill(helpers()[0]!, "SIGKILL");
    await until(() => helpers().length === 0);
    await delay(50); // until this process has heard of it, too
    await helper.preload(layer.source);
    const hanging = helper.preload(fifo("never"));
    process.kill(helpers()[0]!, "SIGKILL");
    await assert.rejects(hanging, { code: "unavailable" });
    await helper.preload(layer.source);
  });

  it("does eight calls at a time, keeps two processes at most, and leaves none behind", async () => {
    const abort = new AbortController();
    const hanging = Array.from({ length: 9 }, (_, at) =>
      helper.preload(fifo(`never-${at}`), { signal: abort.signal }),
    );
    const settled = Promise.allSettled(hanging);
    await until(() => helpers().length === 8);
    abort.abort();
    await settled;
    await Promise.all(Array.from({ length: 5 }, () => helper.preload(layer.source)));
    await until(() => helpers().length <= 2);
    await helper[Symbol.asyncDispose]();
    await until(() => helpers().length === 0);
    await assert.rejects(helper.preload(layer.source), { code: "unavailable" });
  });

  it("says so where its program is none", async () => {
    for (const program of ["/no/such/program", "/bin/false", "/bin/echo"]) {
      await using broken = startMountHelper({ ...COMMAND, argv: [program] });
      await assert.rejects(broken.preload(layer.source), { code: "unavailable" }, program);
    }
  });

  for (const door of DOORS) {
    it(`mounts over a FUSE that the caller serves itself (${door})`, async () => {
      const fuse = join(directory, "f");
      await mkdir(fuse);
      const { ended } = await serveHere(layer, fuse);
      try {
        const devices = [join(fuse, "d0"), join(fuse, "d1")];
        await helper.mountErofs(requestOf(door, { source: join(fuse, "m0"), devices }));
        const { stdout } = await promisify(execFile)("cat", [join(target, "zero")]);
        assert.equal(stdout, TINY_CONTENTS["zero"]);
      } finally {
        await helper.unmount(target, { detach: true });
        await helper.unmount(fuse, { detach: true });
        await ended;
      }
      assert.ok(existsSync(target));
      assert.equal(loops(), 0);
    });
  }
});
