import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { findMount, probeKernel, readMountTable, unmount } from "@soci-ts/linux";
import type { IdMapping } from "../contract/types.ts";
import { serveHere } from "../testing/serve-here.ts";
import { TINY_OWNER, type TinyLayer, writeTinyLayer } from "../testing/tiny-layer.ts";
import { idMappedMounts } from "./id-mapped-mounts.ts";
import { type MountHelper, startMountHelper } from "./mount-helper.ts";

const probe = probeKernel();
const missing = [probe.sysAdmin, probe.overlay, probe.erofsIdMapped].find(
  ({ state }) => state !== "ok",
);
const skip = missing === undefined ? false : missing.found;
const unless = (finding: { state: string; found: string }) => ({
  skip: finding.state === "ok" ? false : finding.found,
});

const MAPPING: IdMapping = { uids: "0:100000:65536", gids: "0:200000:65536" };
const SHIFTED = `${100_000 + TINY_OWNER.uid}:${200_000 + TINY_OWNER.gid}`;
const PLAIN = `${TINY_OWNER.uid}:${TINY_OWNER.gid}`;

/** Runs a program without waiting for it in a system call: this process serves FUSE in one of the tests. */
async function run(program: string, ...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(program, args)).stdout.trim();
}

describe("idMappedMounts()", { skip }, () => {
  let directory = "";
  let lower = "";
  let target = "";
  let layer: TinyLayer;
  let helper: MountHelper;
  beforeEach(async () => {
    directory = await mkdtemp("/run/soci-idmapped-");
    lower = join(directory, "lower");
    target = join(directory, "deep", "mapped");
    for (const name of ["lower", "upper", "work", "merged"]) await mkdir(join(directory, name));
    layer = await writeTinyLayer(directory);
    helper = startMountHelper({
      argv: [
        process.execPath,
        fileURLToPath(new URL("../testing/mount-helper-child.js", import.meta.url)),
      ],
      environment: { PATH: "/usr/bin:/bin" },
    });
  });
  afterEach(async () => {
    const left = readMountTable().filter((info) => info.mountPoint.startsWith(`${directory}/`));
    for (const { mountPoint } of left.reverse()) await helper.unmount(mountPoint, { detach: true });
    await helper[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  /** Owners are shifted through an overlay, also of what is copied up; the layer itself stays as it is. */
  async function checkShifted(source: string): Promise<void> {
    const mounts = idMappedMounts(helper);
    await mounts.mount(source, target, MAPPING);
    const owner = (path: string): Promise<string> => run("stat", "-c", "%u:%g", path);
    assert.equal(await owner(join(target, "one")), SHIFTED);
    assert.equal(await owner(join(source, "one")), PLAIN);
    const [upper, work, merged] = ["upper", "work", "merged"].map((name) => join(directory, name));
    const options = `lowerdir=${target},upperdir=${upper},workdir=${work}`;
    await run("mount", "-t", "overlay", "-o", options, "soci-test", merged ?? "");
    assert.equal(await owner(join(merged ?? "", "one")), SHIFTED);
    await run("chmod", "600", join(merged ?? "", "one"));
    assert.equal(await owner(join(upper ?? "", "one")), SHIFTED);
    await mounts.unmount(target);
    assert.equal(findMount(target), undefined);
    assert.equal(existsSync(target), false);
    assert.equal(await owner(join(merged ?? "", "zero")), SHIFTED, "what is in use stays");
    await run("umount", merged ?? "");
  }

  for (const [door, finding] of [
    ["erofs", probe.erofsFileBacked],
    ["loop", probe.erofsOnLoop],
  ] as const) {
    it(`shifts the owners of a layer (${door})`, unless(finding), async () => {
      await helper.mountErofs({
        source: layer.source,
        devices: layer.devices,
        door,
        target: lower,
        layerDigest: "sha256:abc",
      });
      await checkShifted(lower);
    });
  }

  it("shifts the owners of a layer (fuse)", unless(probe.fuseIdMapped), async () => {
    const { ended } = await serveHere(layer, lower);
    try {
      await checkShifted(join(lower, "t0"));
    } finally {
      await helper.unmount(join(directory, "merged"), { detach: true });
      await helper.unmount(target, { detach: true });
      await helper.unmount(lower, { detach: true });
      await ended;
    }
  });

  it("shifts the owners of a directory on the disk", async () => {
    const source = await mkdtemp(join(tmpdir(), "soci-idmapped-"));
    try {
      for (const name of ["zero", "one"]) {
        await writeFile(join(source, name), "");
        await chown(join(source, name), TINY_OWNER.uid, TINY_OWNER.gid);
      }
      await checkShifted(source);
    } finally {
      await rm(source, { recursive: true });
    }
  });

  it("replaces what is there, and takes nothing away where nothing is", async () => {
    const mounts = idMappedMounts(helper);
    await mounts.mount(directory, target, MAPPING);
    await Promise.all([
      mounts.mount(directory, target, MAPPING),
      mounts.mount(directory, target, MAPPING),
    ]);
    assert.equal(readMountTable().filter((info) => info.mountPoint === target).length, 1);
    await mounts.unmount(target);
    await mounts.unmount(target);
  });

  it("says what can't be shifted, and which mapping is none", async () => {
    const mounts = idMappedMounts(helper);
    await assert.rejects(mounts.mount("/proc", target, MAPPING), { code: "unimplemented" });
    const wrong = { ...MAPPING, gids: "0:1" };
    await assert.rejects(mounts.mount(directory, target, wrong), { code: "invalid_argument" });
    await assert.rejects(unmount(target), { code: "failed_precondition" });
  });
});
