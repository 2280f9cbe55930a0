// Every process of the daemon but the keeper is killed while containers run and start: no read fails, and what is here needs no registry.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import {
  type DaemonRole,
  debianSkipReason,
  type FaultProxy,
  type RunningRegistry,
  startDockerRegistry,
  startFaultProxy,
} from "@soci-ts/testkit";
import { endCleanly } from "./daemon-leftovers.ts";
import {
  DATA_HASH,
  DATA_SLEEP,
  type DataImage,
  dataHashes,
  dataImage,
  pushDataImage,
} from "./data-image.ts";
import {
  containerdsForTests,
  type Door,
  type LazyNode,
  publish,
  REGISTRY,
  startLazyNode,
} from "./node-fixture.ts";
import { PAUSE, SMALL_IMAGES } from "./node-images.ts";
import { type Pod, type PodContainer, startPod } from "./node-pod.ts";
import { Chance, testSeed } from "./seed.ts";

interface KillRun {
  readonly door: Door;
  /** How many times processes are killed. */
  readonly rounds: number;
  /** Lines of the daemon's table `[mount]`. */
  readonly mountConfig: readonly string[];
}

const RUNS: readonly KillRun[] = [
  { door: "erofs", rounds: 20, mountConfig: [] },
  { door: "fuse", rounds: 20, mountConfig: ['resend = "off"'] },
];
const MORTALS: readonly DaemonRole[] = ["daemon", "serve-layers", "image-worker", "mount-helper"];
const FILES = { layers: 4, filesPerLayer: 2000, maxBytes: 6000, seed: 7 };
const { python } = SMALL_IMAGES;
const PYTHON = `${REGISTRY}/${python.name}:v1`;
const MANY = `${REGISTRY}/many:v1`;
/** How far away the registry is while processes are killed, so that reads are in flight; and when reading gets ahead of the killing. */
const DELAY_MS = 100;
const LONG_DELAY_MS = 700;
/** A layer that no container uses goes soon, so that the end of the test sees it go. */
const SOON = "idle_release_ms = 1000";
const PATIENCE_MS = 240_000;

const { programs: versions, skip: noContainerd } = await containerdsForTests();
const programs = versions.filter(({ version }) => version.startsWith("1.")).at(-1);
const skip = noContainerd || (await debianSkipReason());

describe("containers outlive the daemon", { skip, timeout: 600_000 }, () => {
  let work: string;
  let registry: RunningRegistry;
  let many: DataImage;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-crash-"));
    registry = await startDockerRegistry();
    const store = join(work, "builder");
    await publish(registry.host, [{ image: PAUSE }], undefined);
    await publish(registry.host, [{ image: python }], { store, minLayerBytes: 0 });
    many = await dataImage(join(work, "many"), FILES);
    await pushDataImage(many, `${registry.host}/many`, store);
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  for (const { door, rounds, mountConfig } of RUNS) {
    const title = [`door ${door}`, ...mountConfig].join(", ");
    test(`${title}: 8,000 files are hashed and containers start while processes are killed`, async () => {
      assert.ok(programs !== undefined);
      await using stack = new DisposeStack();
      const proxy = stack.use(await startFaultProxy(registry.host));
      const lazy = stack.use(
        await startLazyNode({
          ...{ programs, door, registryHost: proxy.host },
          mountConfig: [SOON, ...mountConfig],
        }),
      );
      await lazy.watched(() => killTest({ lazy, proxy, many, rounds, title }));
    });
  }
});

interface KillTest {
  readonly lazy: LazyNode;
  readonly proxy: FaultProxy;
  readonly many: DataImage;
  readonly rounds: number;
  readonly title: string;
}

async function killTest(run: KillTest): Promise<void> {
  const { lazy, proxy } = run;
  const { snapshotter } = lazy;
  assert.ok(snapshotter !== undefined);
  const expected = dataHashes(run.many);
  {
    await using pod = await startPod(lazy.node);
    await pod.pull(MANY);
    const container = await pod.create(MANY, DATA_SLEEP);
    await container.start();
    let isReading = true;
    const hashing = container.exec(...DATA_HASH).finally(() => {
      isReading = false;
    });
    const killing = killMany(run, () => isReading).finally(() => {
      proxy.rule = undefined;
    });
    const [hashed, started] = await Promise.all([hashing, startTwo(pod), killing]);
    assertSame(hashed.output, expected);
    for (const one of started) assert.match(await one.firstLine(), /^uid 0$/);

    proxy.rule = () => ({ kind: "status", status: 503 });
    await snapshotter.crash();
    const again = await patiently(() => pod.create(MANY, DATA_SLEEP));
    await again.start();
    assertSame((await again.exec(...DATA_HASH)).output, expected);
  }
  await endCleanly(lazy.node, snapshotter);
}

/** Kills a random choice of processes at random moments, each time after some more has been read. */
async function killMany(run: KillTest, isReading: () => boolean): Promise<void> {
  const { lazy, proxy, many, rounds, title } = run;
  const chance = new Chance(testSeed());
  const killed = new Map<DaemonRole, number>();
  const bytes = many.layout.layers.reduce((total, { size }) => total + size, 0);
  let done = 0;
  proxy.rule = () => {
    const isAhead = proxy.bytesSent > (bytes * (done + 1)) / (rounds + 2);
    return { kind: "delay", delayMs: isAhead ? LONG_DELAY_MS : DELAY_MS };
  };
  for (let round = 0; round < rounds; round += 1) {
    await moreSent(proxy, isReading);
    await chance.pause(2 * DELAY_MS);
    done = round;
    assert.ok(isReading(), `seed ${chance.seed}: the reading was over after ${round} kills`);
    const roles = chance.below(2) === 0 ? [chance.pick(MORTALS)] : chance.some(MORTALS);
    const count = await lazy.snapshotter?.kill(roles);
    assert.ok(count !== undefined);
    for (const role of roles) killed.set(role, (killed.get(role) ?? 0) + 1);
  }
  const counts = [...killed].map(([role, times]) => `${role} ${times} times`).join(", ");
  console.log(`${title}: seed ${chance.seed}, killed ${rounds} times: ${counts}`);
}

/** Two containers of another image, as kubelet starts them: what fails is tried again. */
async function startTwo(pod: Pod): Promise<readonly PodContainer[]> {
  await patiently(() => pod.pull(PYTHON));
  return Promise.all(
    [1, 2].map(async () => {
      const container = await patiently(() => pod.create(PYTHON, python.command));
      await container.start();
      return container;
    }),
  );
}

/** Tries again until the daemon is there: for seconds after a refused connection containerd does not try a new one. */
async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Resolves when the registry has answered something more, or nothing is read any more. */
async function moreSent(proxy: FaultProxy, isReading: () => boolean): Promise<void> {
  const before = proxy.bytesSent;
  while (proxy.bytesSent === before && isReading())
    await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Names the first lines that differ, not thousands of them. */
function assertSame(output: string, expected: string): void {
  if (output === expected) return;
  const want = new Set(expected.split("\n"));
  const wrong = output.split("\n").filter((line) => !want.has(line));
  assert.fail(`${wrong.length} lines differ: ${wrong.slice(0, 5).join("; ")}`);
}
