import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, delay, sha256, silentLogger } from "@soci-ts/core";
import type { ErofsLayerMount } from "../erofs-mount.ts";
import type { Door } from "../mount-record.ts";
import { temporary, until } from "../testing/temporary.ts";
import { type LayerMounter, LayerMounts, type LocalFiles } from "./layer-mounts.ts";
import type { LocalLayer } from "./local-data.ts";
import { nodePaths } from "./node-paths.ts";
import { placeNodeSlot, slotDirectory } from "./slot-files.ts";

/** Mounts nothing, and notes what it is told; `gate` runs before each. */
class FakeMounter implements LayerMounter {
  readonly calls: string[] = [];
  readonly mounts: ErofsLayerMount[] = [];
  /** What is mounted. */
  readonly points = new Set<string>();
  gate: (call: string) => Promise<void> = async () => {};

  async mountErofs(layer: ErofsLayerMount): Promise<void> {
    const call = `mount ${nameOf(layer.target)}`;
    this.calls.push(call);
    this.mounts.push(layer);
    await this.gate(call);
    this.calls.push(`${call} done`);
    this.points.add(layer.target);
  }

  async unmount(target: string, options: { readonly detach?: boolean } = {}): Promise<void> {
    assert.equal(options.detach, true);
    const call = `unmount ${nameOf(target)}`;
    this.calls.push(call);
    await this.gate(call);
    this.calls.push(`${call} done`);
    this.points.delete(target);
  }
}

function nameOf(target: string): string {
  return target.slice(target.lastIndexOf("/") + 1);
}

/** Layers whose local files are right, and what is held of them. */
class FakeFiles implements LocalFiles {
  readonly right = new Set<number>();
  readonly held = new Set<number>();
  opened: ReadonlySet<number> | undefined;

  async open(mounted: ReadonlySet<number>): Promise<void> {
    this.opened = mounted;
  }

  async isRight(layer: number): Promise<boolean> {
    return this.right.has(layer);
  }

  async hold(layer: number): Promise<LocalLayer> {
    this.held.add(layer);
    const devices = [{ layer, path: `/held/${layer}` }];
    return { layerDigest: "sha256:x", imagePath: "/image", devices };
  }

  async mounting(layer: number, mount: () => Promise<void>): Promise<void> {
    assert.ok(this.held.has(layer));
    await mount();
  }

  async release(layer: number): Promise<void> {
    this.held.delete(layer);
  }

  async tidy(): Promise<void> {}
}

interface Bench {
  readonly files: FakeFiles;
  readonly mounts: LayerMounts;
  /** As another daemon would. */
  readonly open: () => LayerMounts;
  readonly mounter: FakeMounter;
  readonly at: (layer: number) => string;
}

/** Layers 1 and 2 are there; 2 uses both as devices, and was read whole. */
async function benched(
  test: (bench: Bench) => Promise<void>,
  { door = "erofs", idleMs = 40 }: { readonly door?: Door; readonly idleMs?: number } = {},
): Promise<void> {
  await using scratch = await temporary();
  const paths = nodePaths(scratch.path);
  for (const path of [paths.slots, paths.mounts]) await mkdir(path);
  const common = { mediaType: "x", sizeBytes: 1 };
  const digest = sha256(Buffer.from("x"));
  for (const layer of [1, 2]) {
    const lazy = { indexPath: "", indexDigest: digest, headersPath: "", headersDigest: digest };
    const data =
      layer === 1
        ? ({ kind: "lazy", ...common, ...lazy } as const)
        : ({ kind: "streamed", ...common, diffId: digest } as const);
    const deviceSlots = layer === 1 ? [1] : [2, 1];
    const record = { layerDigest: digest, data, imagePath: "/image", deviceSlots };
    const incoming = join(scratch.path, "incoming");
    await placeNodeSlot(incoming, slotDirectory(paths.slots, layer), { record, source: null });
  }
  const mounter = new FakeMounter();
  const files = new FakeFiles();
  const open = (): LayerMounts =>
    new LayerMounts({
      ...{ paths, door, mounter, idleMs, logger: silentLogger },
      ...{ localFiles: files, local: "auto" },
      mountPoints: () => mounter.points,
    });
  const at = (layer: number): string => join(paths.mounts, String(layer));
  await test({ files, mounts: open(), open, mounter, at });
}

/** A gate that the test opens. */
function gate(): { readonly wait: () => Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { wait: () => opened, open };
}

describe("LayerMounts", () => {
  it("mounts a layer once, whoever asks, and says where", async () => {
    await benched(async ({ mounts, mounter, at }) => {
      const asked = [mounts.mount([1, 2]), mounts.mount([2, 1, 1]), mounts.mount([])];
      const [first, second, none] = await Promise.all(asked);
      assert.deepEqual(first, [at(1), at(2)]);
      assert.deepEqual(second, [at(2), at(1), at(1)]);
      assert.deepEqual(none, []);
      assert.equal(mounter.mounts.length, 2);
      assert.deepEqual([...mounts.mounted].sort(), [1, 2]);
      await mounts.mount([1]);
      assert.equal(mounter.mounts.length, 2);
    });
  });

  it("mounts the image with its devices in order, and lets the kernel read ahead", async () => {
    await benched(
      async ({ mounts, mounter, at }) => {
        await mounts.mount([1]);
        await mounts.mount([2]);
        const [first, second] = mounter.mounts;
        assert.equal(nameOf(first?.source ?? ""), "m1");
        assert.equal(first?.readAhead, "kernel");
        assert.deepEqual(second?.devices.map(nameOf), ["d2", "d1"]);
        assert.deepEqual(
          [second?.target, second?.door, second?.readAhead],
          [at(2), "loop", "kernel"],
        );
      },
      { door: "loop" },
    );
  });

  it("fails all who wait, unmounts what may have come to be, and tries again when it is asked to", async () => {
    await benched(async ({ mounts, mounter, at }) => {
      mounter.gate = async (call) => {
        if (call === "mount 1") throw new AppError("deadline_exceeded", "not done after 1 ms");
      };
      const asked = [mounts.mount([1]), mounts.mount([2, 1])];
      const failed = { code: "unavailable", message: /Cannot mount layer 1: not done/ };
      await Promise.all(asked.map((it) => assert.rejects(it, failed)));
      assert.equal(mounter.calls.filter((call) => call === "mount 1").length, 1);
      assert.ok(mounter.calls.includes("unmount 1 done"));
      assert.equal(existsSync(at(1)), false);
      assert.deepEqual(mounts.mounted, [2]);
      mounter.gate = async () => {};
      assert.deepEqual(await mounts.mount([1]), [at(1)]);
    });
  });

  it("forgets a mount that failed after all who asked had left", async () => {
    await benched(async ({ mounts, mounter, at }) => {
      const { wait, open } = gate();
      mounter.gate = async () => {
        await wait();
        throw new AppError("unavailable", "the process that mounts ended");
      };
      const abort = new AbortController();
      const left = assert.rejects(mounts.mount([1], { signal: abort.signal }), /left/);
      await until("it is mounting", () => mounter.mounts.length === 1);
      abort.abort(new Error("left"));
      await left;
      open();
      await until("it has failed", () => mounts.mounted.length === 0);
      mounter.gate = async () => {};
      assert.deepEqual(await mounts.mount([1]), [at(1)]);
    });
  });

  it("says that there is no such layer, through each door", async () => {
    for (const door of ["erofs", "fuse"] as const) {
      await benched(
        async ({ mounts }) => {
          await assert.rejects(mounts.mount([7]), { code: "unavailable", message: /layer 7/ });
          await assert.rejects(mounts.mount([1, 7]), { code: "unavailable", message: /layer 7/ });
        },
        { door },
      );
    }
  });

  it("makes no mounts through the door fuse", async () => {
    await benched(
      async ({ mounts, mounter }) => {
        assert.deepEqual((await mounts.mount([2, 1])).map(nameOf), ["t2", "t1"]);
        assert.deepEqual(mounts.mounted, [2, 1]);
        mounts.retain(new Set([1]));
        assert.deepEqual(mounts.mounted, [1]);
        await mounts.releaseIdle();
        assert.deepEqual(mounter.calls, []);
      },
      { door: "fuse" },
    );
  });

  it("releases what no snapshot has needed for a while, and nothing that was just asked for", async () => {
    await benched(async ({ mounts, mounter, at }) => {
      await mounts.mount([1, 2]);
      await delay(80);
      await mounts.releaseIdle();
      assert.deepEqual([...mounts.mounted].sort(), [1, 2], "nothing was retained since");
      mounts.retain(new Set([2]));
      await mounts.releaseIdle();
      assert.deepEqual([...mounts.mounted].sort(), [1, 2], "both were needed a moment ago");
      await delay(80);
      await mounts.releaseIdle();
      assert.deepEqual(mounts.mounted, [2]);
      assert.equal(existsSync(at(1)), false);
      assert.ok(mounter.calls.includes("unmount 1 done"));
      await mounts.release(1);
      assert.equal(mounter.calls.filter((call) => call === "unmount 1").length, 1);
    });
  });

  it("finds what an earlier daemon has mounted, and releases it when it is idle", async () => {
    await benched(async ({ mounts, open, mounter, at }) => {
      await mounts.mount([1]);
      mounter.points.add("/elsewhere/2");
      const next = open();
      assert.deepEqual(next.mounted, [1]);
      assert.deepEqual(await next.mount([1]), [at(1)]);
      assert.equal(mounter.mounts.length, 1);
      next.retain(new Set());
      await delay(80);
      await next.releaseIdle();
      assert.deepEqual(next.mounted, []);
      assert.ok(!mounter.points.has(at(1)));
    });
  });

  it("mounts again what somebody else has taken away, or could not be taken away", async () => {
    await benched(async ({ mounts, mounter, at }) => {
      await mounts.mount([1]);
      mounter.points.delete(at(1));
      assert.deepEqual(await mounts.mount([1]), [at(1)]);
      assert.equal(mounter.mounts.length, 2);
      mounter.gate = async (call) => {
        if (call === "unmount 1") throw new AppError("deadline_exceeded", "not done");
      };
      await mounts.release(1);
      assert.ok(mounter.points.has(at(1)));
      mounter.gate = async () => {};
      await mounts.mount([1]);
      const expected = ["unmount 1", "unmount 1", "unmount 1 done", "mount 1", "mount 1 done"];
      assert.deepEqual(mounter.calls.slice(-5), expected);
    });
  });

  it("releases a layer that is being mounted when it is mounted", async () => {
    await benched(async ({ mounts, mounter }) => {
      const { wait, open } = gate();
      mounter.gate = wait;
      const mounting = mounts.mount([1]);
      await until("it is mounting", () => mounter.mounts.length === 1);
      const released = mounts.release(1);
      open();
      await Promise.all([mounting, released]);
      const expected = ["mount 1", "mount 1 done", "unmount 1", "unmount 1 done"];
      assert.deepEqual(mounter.calls, expected);
      assert.deepEqual(mounts.mounted, []);
    });
  });

  it("mounts a layer that is being released when it is released", async () => {
    await benched(async ({ mounts, mounter, at }) => {
      await mounts.mount([1]);
      const { wait, open } = gate();
      mounter.gate = wait;
      const released = mounts.release(1);
      await until("it is unmounting", () => mounter.calls.includes("unmount 1"));
      const again = mounts.mount([1]);
      const twice = mounts.release(2);
      await delay(30);
      assert.equal(mounter.mounts.length, 1);
      open();
      await Promise.all([released, twice]);
      assert.deepEqual(await again, [at(1)]);
      assert.deepEqual(mounter.calls.slice(-2), ["mount 1", "mount 1 done"]);
      assert.ok(existsSync(at(1)));
    });
  });

  it("mounts a layer that became whole from its file, for those who ask from then on", async () => {
    await benched(async ({ files, mounts, mounter, at }) => {
      await mounts.mount([1]);
      files.right.add(1);
      const [local] = await mounts.mount([1]);
      assert.equal(local, `${at(1)}w`);
      assert.deepEqual(await mounts.mount([1]), [local], "once");
      const { source, devices, directIo, door } = mounter.mounts.at(-1) as ErofsLayerMount;
      assert.deepEqual([source, devices, directIo], ["/image", ["/held/1"], true]);
      assert.equal(door, "erofs");
      assert.deepEqual(mounts.mounted, [1]);
      assert.deepEqual(
        mounts.points.map(({ directory, isLocal }) => [directory, isLocal]),
        [
          [at(1), false],
          [local, true],
        ],
      );
      files.right.delete(1);
      assert.deepEqual(await mounts.mount([1]), [at(1)], "its file was changed since");
    });
  });

  it("keeps both mounts of a layer for as long as those need it who were given them", async () => {
    await benched(async ({ files, mounts, mounter, at }) => {
      await mounts.mount([1]);
      files.right.add(1);
      await mounts.mount([1]);
      mounts.retain(new Set([1]));
      await delay(60);
      await mounts.releaseIdle();
      assert.equal(mounts.points.length, 2);
      mounts.retain(new Set());
      await mounts.mount([1]);
      await delay(60);
      await mounts.releaseIdle();
      await delay(60);
      await mounts.releaseIdle();
      assert.deepEqual(
        mounts.points.map(({ directory }) => directory),
        [`${at(1)}w`],
        "nobody was given the other one since",
      );
      assert.deepEqual([...files.held], [1]);
      await mounts.release(1);
      assert.deepEqual([mounts.mounted, [...files.held], [...mounter.points]], [[], [], []]);
    });
  });

  it("falls back to FUSE where the file can't be mounted, and lets go of it", async () => {
    await benched(async ({ files, mounts, mounter, at }) => {
      files.right.add(1);
      mounter.gate = async (call) => {
        if (call === "mount 1w") throw new AppError("internal", "EIO");
      };
      assert.deepEqual(await mounts.mount([1]), [at(1)]);
      assert.deepEqual([...files.held], []);
      assert.equal(existsSync(`${at(1)}w`), false);
    });
  });

  it("knows the local mounts of an earlier daemon", async () => {
    await benched(async ({ files, mounts, mounter, open, at }) => {
      files.right.add(1);
      await mounts.mount([1, 2]);
      const next = open();
      assert.deepEqual([...(files.opened ?? [])], [1]);
      assert.deepEqual(await next.mount([1]), [`${at(1)}w`]);
      assert.equal(mounter.mounts.length, 2);
    });
  });

  it("mounts none from its file through the door fuse", async () => {
    await benched(
      async ({ files, mounts, mounter }) => {
        files.right.add(1);
        assert.deepEqual((await mounts.mount([1])).map(nameOf), ["t1"]);
        assert.deepEqual(mounter.calls, []);
      },
      { door: "fuse" },
    );
  });
});
