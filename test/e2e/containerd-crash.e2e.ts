// The daemon and its helpers are killed while containers run: no read fails, and what is here needs no registry.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { AppError } from "@soci-ts/core";
import {
  debianSkipReason,
  type FaultProxy,
  type RunningRegistry,
  startDockerRegistry,
  startFaultProxy,
} from "@soci-ts/testkit";
import {
  containerdsForTests,
  type Door,
  type LazyNode,
  publish,
  REGISTRY,
  startLazyNode,
} from "./node-fixture.ts";
import { PAUSE, SMALL_IMAGES } from "./node-images.ts";
import { type Pod, startPod } from "./node-pod.ts";

const DOORS: readonly Door[] = ["erofs", "loop", "fuse"];
const { python } = SMALL_IMAGES;
const PYTHON = `${REGISTRY}/${python.name}:v1`;
/** Reads every file of the image below /usr; prints how many there were, how many failed, and a digest of all that was read. */
const READ_ALL = `
import hashlib, os
count = failed = 0
sum = hashlib.sha256()
for folder, folders, names in os.walk("/usr"):
    folders.sort()
    for name in sorted(names):
        path = os.path.join(folder, name)
        if os.path.islink(path):
            continue
        count += 1
        try:
            with open(path, "rb") as file:
                sum.update(file.read())
        except OSError:
            failed += 1
print(count, failed, sum.hexdigest())
`;
const DELAY_MS = 100;
const KILLS = 4;

const { programs: versions, skip: noContainerd } = await containerdsForTests();
const programs = versions.filter(({ version }) => version.startsWith("1.")).at(-1);
const skip = noContainerd || (await debianSkipReason());

describe("containers outlive the daemon", { skip, timeout: 600_000 }, () => {
  let work: string;
  let registry: RunningRegistry;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-crash-"));
    registry = await startDockerRegistry();
    await publish(registry.host, [{ image: PAUSE }], undefined);
    const index = { store: join(work, "builder"), minLayerBytes: 0 };
    await publish(registry.host, [{ image: python }], index);
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  for (const door of DOORS) {
    describe(`door ${door}`, () => {
      let proxy: FaultProxy;
      let lazy: LazyNode;
      let pod: Pod;

      before(async () => {
        assert.ok(programs !== undefined);
        proxy = await startFaultProxy(registry.host);
        lazy = await startLazyNode({ programs, door, registryHost: proxy.host });
        pod = await lazy.watched(() => startPod(lazy.node));
      });

      after(async () => {
        await pod?.[Symbol.asyncDispose]();
        await lazy?.[Symbol.asyncDispose]();
        await proxy?.[Symbol.asyncDispose]();
      });

      test("every file is read while the processes are killed, and again with the registry gone", () =>
        lazy.watched(async () => {
          await pod.pull(PYTHON);
          const container = await pod.create(PYTHON, ["/bin/sleep", "1000"]);
          await container.start();
          proxy.rule = () => ({ kind: "delay", delayMs: DELAY_MS });
          let isReading = true;
          const reading = container.exec("/usr/bin/python3", "-c", READ_ALL).finally(() => {
            isReading = false;
          });
          let kills = 0;
          while (isReading && kills < KILLS) {
            await waitForRequest(proxy, () => isReading);
            if (!isReading) break;
            kills += await killOne(lazy, kills);
          }
          const first = await reading;
          assert.match(first.output, /^\d+ 0 [0-9a-f]{64}\n$/);
          assert.ok(kills >= 2, `the reading was over after ${kills} kills`);

          proxy.rule = () => ({ kind: "status", status: 503 });
          await lazy.snapshotter?.crash();
          const again = await patiently(() =>
            pod.create(PYTHON, ["/usr/bin/python3", "-c", READ_ALL]),
          );
          await again.start();
          assert.deepEqual(await again.ended(), {
            exitCode: 0,
            output: first.output.trim(),
          });
        }));
    });
  }
});

/** The daemon and the process that answers reads in turn. */
async function killOne(lazy: LazyNode, ordinal: number): Promise<number> {
  if (ordinal % 2 === 0) return (await lazy.snapshotter?.killHelpers("serve-layers")) ?? 0;
  await lazy.snapshotter?.crash();
  return 1;
}

/** As kubelet does: for seconds after a refused connection containerd does not try a new one. */
async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const isRefused = error instanceof AppError && error.code === "unavailable";
      if (!isRefused || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Resolves when the registry is asked for something more, or nothing is read any more. */
async function waitForRequest(proxy: FaultProxy, isReading: () => boolean): Promise<void> {
  const seen = proxy.requests.length;
  while (proxy.requests.length === seen && isReading())
    await new Promise((resolve) => setTimeout(resolve, 5));
}
