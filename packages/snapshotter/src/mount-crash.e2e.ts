import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { delay } from "@soci-ts/core";
import { findMount } from "@soci-ts/linux";
import { buildTar, gzipLayer, seededBytes, seededRandom } from "@soci-ts/testkit";
import type { Door } from "./mount-record.ts";
import { Fixture, mountObstacle, testServer } from "./testing/fixture.ts";

const DOORS: readonly Door[] = ["erofs", "loop", "fuse"];
const skip = mountObstacle();

/** Starts a process that mounts the fixture's image; resolves when it is about to. */
async function startMounting(fixture: Fixture, door: Door): Promise<ChildProcess> {
  const script = fileURLToPath(new URL("./testing/mount-child.js", import.meta.url));
  const { store, layout, target, runtimeRoot } = fixture;
  const args = [script, store.root, layout, target, runtimeRoot, door];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout!, "data");
  return child;
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

async function serversGone(fixture: Fixture): Promise<void> {
  for (let turn = 0; turn < 500 && fixture.serverPids().length > 0; turn += 1) await delay(10);
  assert.deepEqual(fixture.serverPids(), []);
}

describe("mounts whose processes are killed", { skip }, () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await Fixture.open();
    const one = await buildTar([{ name: "a", content: seededBytes(300_000, 1) }]);
    const two = await buildTar([{ name: "b", content: "b\n" }]);
    await fixture.writeImage([gzipLayer(one), gzipLayer(two)]);
  });
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]();
  });

  for (const door of DOORS) {
    it(`leave nothing that keeps the next mount from working when the mounting process is killed at any point (${door})`, async () => {
      const random = seededRandom(door.length);
      for (let turn = 0; turn < 5; turn += 1) {
        const child = await startMounting(fixture, door);
        await delay(Math.floor(random() * 300));
        child.kill("SIGKILL");
        await endOf(child);
        if (findMount(fixture.target) === undefined) await serversGone(fixture);
        else await fixture.unmount(); // it was faster than the kill
      }
      await fixture.mount({ door });
      assert.equal(readFileSync(join(fixture.target, "b"), "utf8"), "b\n");
      await fixture.unmount();
      assert.deepEqual(fixture.leftovers(), []);
    });

    it(`are cleared away by the next mount when the serving process was killed (${door})`, async () => {
      const { pid } = await fixture.mount({ door });
      assert.deepEqual(fixture.serverPids(), [pid]);
      process.kill(pid, "SIGKILL");
      await serversGone(fixture);
      const read = spawnSync("cat", [join(fixture.target, "a")]);
      assert.notEqual(read.status, 0);
      await fixture.mount({ door });
      assert.equal(readFileSync(join(fixture.target, "b"), "utf8"), "b\n");
      await fixture.unmount();
      assert.deepEqual(fixture.leftovers(), []);
    });

    it(`are taken away by unmounting, busy or not, when the serving process was killed (${door})`, async () => {
      const { pid } = await fixture.mount({ door });
      const user = spawn("sleep", ["60"], { cwd: fixture.target });
      await once(user, "spawn");
      try {
        assert.deepEqual(fixture.serverPids(), [pid]);
        process.kill(pid, "SIGKILL");
        await serversGone(fixture);
        assert.equal((await fixture.unmount()).wasDead, true);
        // A loop device goes with the last user of what is mounted from it.
        const inUse = fixture.loopDevices().map((path) => `loop device ${path}`);
        assert.equal(inUse.length, door === "loop" ? 4 : 0);
        assert.deepEqual(fixture.leftovers(), inUse);
      } finally {
        user.kill();
        await endOf(user);
      }
      assert.deepEqual(fixture.leftovers(), []);
    });
  }

  it("are taken away while a read hangs whose reader was killed (loop)", async () => {
    const { pid } = await fixture.mount({ door: "loop" });
    assert.deepEqual(fixture.serverPids(), [pid]);
    process.kill(pid, "SIGSTOP");
    const reader = spawn("cat", [join(fixture.target, "a")], { stdio: "ignore" });
    await delay(200);
    reader.kill("SIGKILL");
    await endOf(reader);
    await fixture.unmount();
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("end with the mounting process until they are on record, and outlive it afterwards", async () => {
    const child = await startMounting(fixture, "erofs");
    await endOf(child);
    assert.equal(child.exitCode, 0);
    assert.equal(fixture.serverPids().length, 1);
    assert.equal(readFileSync(join(fixture.target, "b"), "utf8"), "b\n");
    await fixture.unmount();
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("outlive SIGHUP and SIGINT, and end on SIGTERM", async () => {
    const { pid } = await fixture.mount();
    process.kill(pid, "SIGHUP");
    process.kill(pid, "SIGINT");
    await delay(50);
    assert.equal(readFileSync(join(fixture.target, "b"), "utf8"), "b\n");
    process.kill(pid, "SIGTERM");
    await serversGone(fixture);
    await fixture.unmount();
  });
});

describe("mountImage() that fails", { skip }, () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await Fixture.open();
    await fixture.writeImage([gzipLayer(await buildTar([{ name: "a", content: "a" }]))]);
  });
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]();
  });

  it("undoes everything when the serving process can't start", async () => {
    const server = { argv: ["/no/such/program"] as const, environment: {} };
    await assert.rejects(fixture.mount({ server, door: "fuse" }), /process that serves/);
    assert.deepEqual(fixture.leftovers(), []);
    const ends = { argv: ["/bin/false"] as const, environment: {} };
    await assert.rejects(fixture.mount({ server: ends, door: "fuse" }), /it ended/);
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("hands on the serving process's reason and undoes everything", async () => {
    const script = testServer().argv[2] as string;
    const argv = [process.execPath, script, "--break"] as const;
    await assert.rejects(
      fixture.mount({ server: { ...testServer(), argv }, door: "fuse" }),
      /told to fail/,
    );
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("undoes everything when it is aborted", async () => {
    for (const afterMs of [0, 30, 90, 150, 220]) {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), afterMs);
      await fixture.mount({ signal: abort.signal }).then(
        () => fixture.unmount(),
        () => {},
      );
      clearTimeout(timer);
      assert.deepEqual(fixture.leftovers(), []);
    }
  });

  it("undoes everything when a layer is not what the manifest says", async () => {
    const { layers } = await fixture.options(() => false);
    const blob = join(fixture.layout, "blobs", layers[0]!.descriptor.digest.replace(":", "/"));
    await writeFile(blob, Buffer.alloc(layers[0]!.descriptor.size));
    await assert.rejects(
      fixture.mount({}, () => false),
      { code: "data_loss" },
    );
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("lets one of two win at most that mount on one directory at once", async () => {
    const results = await Promise.allSettled([fixture.mount(), fixture.mount()]);
    const mounted = results.filter(({ status }) => status === "fulfilled").length;
    assert.ok(mounted <= 1);
    if (mounted === 1) await fixture.unmount();
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("mounts one image on several directories", async () => {
    const second = join(fixture.directory, "second");
    await mkdir(second);
    await Promise.all([fixture.mount(), fixture.mount({ target: second })]);
    assert.equal(readFileSync(join(second, "a"), "utf8"), "a");
    await fixture.unmount();
    assert.equal(readFileSync(join(second, "a"), "utf8"), "a");
  });
});
