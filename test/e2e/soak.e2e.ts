// Everything at once for a while: pulls, containers, reads, removals, kills, registry faults. Wrong bytes never; an error only where a registry's fault explains it.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import {
  type FaultProxy,
  type RunningSnapshotter,
  startDockerRegistry,
  startFaultProxy,
} from "@soci-ts/testkit";
import { endCleanly } from "./daemon-leftovers.ts";
import { DATA_HASH, DATA_SLEEP, dataHashes, dataImage, pushDataImage } from "./data-image.ts";
import { containerdsForTests, publish, startLazyNode } from "./node-fixture.ts";
import { PAUSE } from "./node-images.ts";
import { type Pod, startPod } from "./node-pod.ts";
import { figuresText, processFigures } from "./process-figures.ts";
import { Chance, testSeed } from "./seed.ts";
import { Trouble } from "./soak-trouble.ts";
import { type SoakImage, SoakWork } from "./soak-work.ts";

const SHORT_MINUTES = 0.5;
const given = process.env["SOCI_TEST_SOAK_MINUTES"];
const minutes = Number(given ?? SHORT_MINUTES);
const REGISTRIES: readonly string[] = ["one.test", "two.test"];
const IMAGES = 6;
const SHAPE = { layers: 2, filesPerLayer: 200, maxBytes: 30_000 };
/** A machine that is busy with other tests takes seconds to start a process. */
const READ_DEADLINE_MS = 10_000;
const AFTER_TROUBLE_MS = 16_000;

const { programs: versions, skip } = await containerdsForTests();
const programs = versions.filter(({ version }) => version.startsWith("1.")).at(-1);

test("a soak: no wrong byte, and no error that no fault of a registry explains", {
  ...{ skip, timeout: (minutes + 5) * 60_000 },
}, async () => {
  assert.ok(programs !== undefined);
  if (given === undefined)
    console.log("a soak of half a minute; for a long one: npm test -- --soak-minutes 30");
  const chance = new Chance(testSeed());
  console.log(`soak of ${minutes} min, seed ${chance.seed} (to repeat: --seed ${chance.seed})`);
  await using stack = new DisposeStack();
  const work = await mkdtemp(join(tmpdir(), "soci-soak-"));
  stack.defer(() => rm(work, { recursive: true, force: true }));
  const registry = stack.use(await startDockerRegistry());
  await publish(registry.host, [{ image: PAUSE }], undefined);
  const images = await soakImages(work, registry.host);
  const proxies = new Map<string, FaultProxy>();
  for (const name of REGISTRIES) proxies.set(name, stack.use(await startFaultProxy(registry.host)));
  const lazy = stack.use(
    await startLazyNode({
      ...{ programs, door: "auto", registryHost: registry.host },
      otherRegistries: Object.fromEntries([...proxies].map(([name, { host }]) => [name, host])),
      mountConfig: ["idle_release_ms = 1000"],
      config: [
        ...["[read]", `deadline_ms = ${READ_DEADLINE_MS}`],
        ...["[index]", "lookup_timeout_ms = 3000", "failure_memory_ms = 1000"],
      ],
    }),
  );
  const { node, snapshotter } = lazy;
  assert.ok(snapshotter !== undefined);
  await lazy.watched(async () => {
    {
      await using pod = await startPod(node);
      const trouble = new Trouble(snapshotter, proxies, chance);
      const soak = new SoakWork({ node, pod, trouble }, images, chance);
      await runSoak(soak, trouble, snapshotter);
      if (soak.counts.faults.length > 0) await showFailedReads(snapshotter);
      assert.deepEqual(soak.counts.faults.slice(0, 10), [], `seed ${chance.seed}`);
      assert.ok(soak.counts.filesRead > 0);
      await new Promise((resolve) => setTimeout(resolve, AFTER_TROUBLE_MS));
      for (const image of images) await isWhole(pod, image);
    }
    await endCleanly(node, snapshotter);
  });
});

/** What the layer server says of the reads that failed, the last ones. */
async function showFailedReads({ root }: RunningSnapshotter): Promise<void> {
  const log = await readFile(join(root, "keeper.log"), "utf8");
  const failed = log.split("\n").filter((line) => line.includes("FUSE request failed"));
  for (const line of failed.slice(-20)) process.stderr.write(`${line}\n`);
}

/** Images of both registries, every other one of which has an index. */
async function soakImages(work: string, host: string): Promise<readonly SoakImage[]> {
  const images: SoakImage[] = [];
  for (let at = 0; at < IMAGES; at += 1) {
    const image = await dataImage(join(work, String(at)), { ...SHAPE, seed: at + 1 });
    const hasIndex = Math.floor(at / REGISTRIES.length) % 2 === 0;
    await pushDataImage(image, `${host}/soak${at}`, hasIndex ? join(work, "builder") : undefined);
    const registry = REGISTRIES[at % REGISTRIES.length] ?? "";
    images.push({ registry, reference: `${registry}/soak${at}:v1`, image });
  }
  return images;
}

async function runSoak(
  soak: SoakWork,
  trouble: Trouble,
  snapshotter: RunningSnapshotter,
): Promise<void> {
  const figures = async (when: string): Promise<void> =>
    console.log(`${when}: ${figuresText(await processFigures(snapshotter))}`);
  await soak.fill();
  await figures("at the start");
  soak.start();
  trouble.start();
  const half = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, minutes * 30_000));
  await half();
  await figures("in the middle");
  await half();
  await trouble.stop();
  await soak.stop();
  await figures("at the end");
  const list = (counts: ReadonlyMap<string, number>): string =>
    [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
  const { actions, filesRead, eiosExplained, refusalsExplained } = soak.counts;
  console.log(`actions: ${list(actions)}; kills: ${list(trouble.kills)}`);
  console.log(`faults of registries: ${list(trouble.faults)}`);
  console.log(
    `${filesRead} files read, ${eiosExplained} times EIO and ${refusalsExplained} calls refused, all explained`,
  );
}

/** Whatever happened before, now everything of an image can be read. */
async function isWhole(pod: Pod, { reference, image }: SoakImage): Promise<void> {
  await pod.pull(reference);
  const container = await pod.create(reference, DATA_SLEEP);
  await container.start();
  const { output } = await container.exec(...DATA_HASH);
  assert.ok(output === dataHashes(image), `${reference} is not what it should be`);
}
