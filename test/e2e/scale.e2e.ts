// Many mounts one after the other, many snapshots and containers at a time: the daemon stays small, and nothing is left of them.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import {
  type ContainerdNode,
  mountsBelow,
  type RunningRegistry,
  type RunningSnapshotter,
  startDockerRegistry,
  unmountBelow,
} from "@soci-ts/testkit";
import { collectGarbage, endCleanly, heldByLayers, untilNone } from "./daemon-leftovers.ts";
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
import { PAUSE } from "./node-images.ts";
import { startPod } from "./node-pod.ts";
import { figuresText, type ProcessFigures, processFigures } from "./process-figures.ts";
import { type MountedSnapshot, SnapshotCycles, sumInSnapshot } from "./snapshot-cycles.ts";

interface Scale {
  readonly door: Door;
  /** Snapshots that are mounted and removed one after the other. */
  readonly cycles: number;
  /** Snapshots that are mounted at the same time. */
  readonly held: number;
}

/** So many of them are made side by side. */
const AT_ONCE = 25;
const IMAGES = 10;
const CONTAINERS = 50;
const SHAPE = { layers: 3, filesPerLayer: 40, maxBytes: 20_000 };
const EVERY = 100;
const MOST_RESIDENT_BYTES = 150 * 1024 * 1024;
/** A collection of garbage more or less. */
const SLACK_BYTES = 8 * 1024 * 1024;
/** Those of a spare worker and a mount helper, which come and go. */
const SLACK_DESCRIPTORS = 10;

const isLarge = process.env["SOCI_TEST_SCALE"] !== undefined;
const SCALES: readonly Scale[] = isLarge
  ? [
      { door: "auto", cycles: 1000, held: 500 },
      { door: "loop", cycles: 200, held: 50 },
    ]
  : [
      { door: "auto", cycles: 300, held: 100 },
      { door: "loop", cycles: 100, held: 25 },
    ];
const { programs: versions, skip } = await containerdsForTests();
const programs = versions.filter(({ version }) => version.startsWith("1.")).at(-1);

describe("scale", { skip, timeout: 600_000 }, () => {
  let work: string;
  let registry: RunningRegistry;
  const images: DataImage[] = [];

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-scale-"));
    registry = await startDockerRegistry();
    await publish(registry.host, [{ image: PAUSE }], undefined);
    for (let at = 0; at < (isLarge ? IMAGES : 1); at += 1) {
      const image = await dataImage(join(work, String(at)), { ...SHAPE, seed: at + 1 });
      await pushDataImage(image, `${registry.host}/image${at}`, join(work, "builder"));
      images.push(image);
    }
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await unmountBelow(work);
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  async function startNode(stack: DisposeStack, door: Door): Promise<LazyNode> {
    assert.ok(programs !== undefined);
    const mountConfig = ["idle_release_ms = 1000"];
    const options = { programs, door, registryHost: registry.host, mountConfig };
    return stack.use(await startLazyNode(options));
  }

  for (const scale of SCALES) {
    const { door, cycles, held } = scale;
    test(`door ${door}: ${cycles} snapshots are mounted and removed, ${held} are there at a time`, async () => {
      await using stack = new DisposeStack();
      const lazy = await startNode(stack, door);
      const [image] = images;
      assert.ok(image !== undefined);
      await lazy.watched(() => manySnapshots({ lazy, work, image, ...scale }));
    });
  }

  test(`${CONTAINERS} containers of ${IMAGES} images at once`, async () => {
    if (!isLarge) {
      console.log(
        `not done: ${CONTAINERS} containers at once, 1,000 cycles and 500 snapshots; for that: npm test -- --scale`,
      );
      return;
    }
    await using stack = new DisposeStack();
    const lazy = await startNode(stack, "auto");
    await lazy.watched(() => manyContainers(lazy, images));
  });
});

/** Does something as often as it is done side by side. */
function atOnce<T>(act: (ordinal: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: AT_ONCE }, (_, at) => act(at)));
}

interface SnapshotsRun extends Scale {
  readonly lazy: LazyNode;
  readonly work: string;
  readonly image: DataImage;
}

async function manySnapshots({ lazy, work, image, ...scale }: SnapshotsRun): Promise<void> {
  const { node, snapshotter } = lazy;
  const { door, cycles, held } = scale;
  assert.ok(snapshotter !== undefined);
  {
    await using pod = await startPod(node);
    await pod.pull(`${REGISTRY}/image0:v1`);
  }
  {
    const directory = join(work, `mounts-${door}`);
    await using snapshots = await SnapshotCycles.open(node, directory);
    const [[path, sum] = ["", ""]] = [...image.sums];
    const figures: (readonly ProcessFigures[])[] = [];
    const before = await snapshots.count();
    for (let at = 0; at < cycles; at += 1) {
      const mounted = await snapshots.start(at);
      if (at % EVERY === 0) assert.equal(await sumInSnapshot(mounted, path), sum);
      await snapshots.end(mounted);
      if (at % EVERY === EVERY - 1) figures.push(await processFigures(snapshotter));
      // Now and then the layers go too, and come back.
      if (at % (2 * EVERY) === EVERY) await untilUnmounted(node, snapshotter);
    }
    console.log(`${door}: after ${EVERY} cycles ${figuresText(figures[0] ?? [])}`);
    console.log(`${door}: after ${cycles} cycles ${figuresText(figures.at(-1) ?? [])}`);
    assertFlat(figures);
    const all: MountedSnapshot[] = [];
    for (let at = 0; at < held; at += AT_ONCE)
      all.push(...(await atOnce((each) => snapshots.start(cycles + at + each))));
    assert.equal(await snapshots.count(), before + held);
    console.log(
      `${door}: with ${held} snapshots ${figuresText(await processFigures(snapshotter))}`,
    );
    for (const mounted of all) await snapshots.end(mounted);
    assert.equal(await snapshots.count(), before);
    assert.deepEqual(await mountsBelow(directory), []);
    await untilUnmounted(node, snapshotter);
    const last = await processFigures(snapshotter);
    console.log(`${door}: with none of them left ${figuresText(last)}`);
    assertSmall(last);
    assertNothingLeftOpen(last, figures[0] ?? []);
  }
  await endCleanly(node, snapshotter);
}

/** Waits until no layer is mounted, now that no snapshot needs one. */
async function untilUnmounted(node: ContainerdNode, { root }: RunningSnapshotter): Promise<void> {
  await collectGarbage(node);
  await untilNone("mounted", () => heldByLayers(root));
}

/** The last figures are no larger than those before. */
function assertFlat(figures: readonly (readonly ProcessFigures[])[]): void {
  const last = figures.at(-1) ?? [];
  assertSmall(last);
  for (const { role, residentBytes } of last) {
    const earlier = figures.slice(0, -1).flatMap((all) => all.filter((it) => it.role === role));
    if (earlier.length < 2) continue;
    const most = Math.max(...earlier.map((it) => it.residentBytes));
    const name = `${role}: ${residentBytes} bytes, ${most} before`;
    assert.ok(residentBytes <= most + SLACK_BYTES, name);
  }
}

/** The daemon keeps within its bounds. */
function assertSmall(figures: readonly ProcessFigures[]): void {
  const daemon = figures.find(({ role }) => role === "daemon");
  assert.ok(daemon !== undefined);
  assert.ok(daemon.residentBytes <= MOST_RESIDENT_BYTES, figuresText(figures));
}

/** To be asked when no layer is in use: while some are, the layer server opens and closes files as it goes. */
function assertNothingLeftOpen(last: readonly ProcessFigures[], first: typeof last): void {
  for (const { role, descriptors } of last) {
    const before = first.find((it) => it.role === role)?.descriptors ?? 0;
    const counts = `${role}: ${descriptors} fds, ${before} before`;
    assert.ok(descriptors <= before + SLACK_DESCRIPTORS, counts);
  }
}

async function manyContainers(lazy: LazyNode, images: readonly DataImage[]): Promise<void> {
  const { node, snapshotter } = lazy;
  assert.ok(snapshotter !== undefined);
  {
    await using pod = await startPod(node);
    const references = images.map((_, at) => `${REGISTRY}/image${at}:v1`);
    await Promise.all(references.map((reference) => pod.pull(reference)));
    const work = Array.from({ length: CONTAINERS }, async (_, at) => {
      const image = images[at % images.length];
      assert.ok(image !== undefined);
      const container = await pod.create(references[at % images.length] ?? "", DATA_SLEEP);
      await container.start();
      const { output } = await container.exec(...DATA_HASH);
      assert.ok(output === dataHashes(image), `container ${at} reads something else`);
    });
    await Promise.all(work);
    const figures = await processFigures(snapshotter);
    console.log(`with ${CONTAINERS} containers: ${figuresText(figures)}`);
    assertSmall(figures);
  }
  await endCleanly(node, snapshotter);
}
