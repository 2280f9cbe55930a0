// From an empty node to a container's first line of output, over a link of 20 ms and 200 Mbit/s: containerd's overlayfs against lazy
// snapshots, with a SOCI index and without. The ratios of the reference are those that it reached with its own index on such images.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SlowLink, startDockerRegistry, startSlowLink } from "@soci-ts/testkit";
import { type Door, publish, REGISTRY, startLazyNode } from "../e2e/node-fixture.ts";
import { type NodeImage, PAUSE } from "../e2e/node-images.ts";
import { startPod } from "../e2e/node-pod.ts";
import { benchContainerd, dropCaches, seconds, timed } from "./node-bench.ts";
import { BENCH_IMAGES } from "./node-bench-images.ts";
import { printTable } from "./table.ts";

const LINK = { rttMs: 20, megabitPerSecond: 200 };
/** overlayfs ÷ reference, measured on another day with images much like these. */
const REFERENCE_RATIO: Readonly<Record<string, number>> = { python: 1.26, node: 1.91, gcc: 1.73 };

/** One way to start an image. */
interface Side {
  readonly name: string;
  readonly door: Door;
  /** What its repository is called after the image's name. */
  readonly suffix: string;
}

const SIDES: readonly Side[] = [
  { name: "overlayfs", door: "overlayfs", suffix: "-plain" },
  { name: "soci, no index", door: "auto", suffix: "-plain" },
  { name: "soci, v1 index", door: "auto", suffix: "" },
];

interface Start {
  readonly pullMs: number;
  readonly createMs: number;
  readonly runMs: number;
  readonly bytes: number;
  readonly requests: number;
}

const programs = await benchContainerd();
const work = await mkdtemp(join(tmpdir(), "soci-cold-"));
await using registry = await startDockerRegistry();
await using link = await startSlowLink(registry.host, LINK);
const plain = BENCH_IMAGES.map((image) => ({ image, repository: `${image.name}-plain` }));
await publish(registry.host, [{ image: PAUSE }, ...plain], undefined);
const indexed = BENCH_IMAGES.map((image) => ({ image, repository: image.name }));
await publish(registry.host, indexed, { store: join(work, "store"), minLayerBytes: undefined });

const rows: (string | number)[][] = [];
const ratios = new Map<string, number[]>();
for (const image of BENCH_IMAGES) {
  let overlayMs = 0;
  for (const side of SIDES) {
    const start = await coldStart(image, side, link);
    const totalMs = start.pullMs + start.createMs + start.runMs;
    if (side.door === "overlayfs") overlayMs = totalMs;
    const ratio = overlayMs / totalMs;
    ratios.set(side.name, [...(ratios.get(side.name) ?? []), ratio]);
    rows.push([
      `${image.name}: ${side.name}`,
      ...[start.pullMs, start.createMs, start.runMs, totalMs].map(seconds),
      (start.bytes / 1e6).toFixed(1),
      start.requests,
      ratio.toFixed(2),
      side.suffix === "" ? (REFERENCE_RATIO[image.name] ?? "-") : "-",
    ]);
  }
}
for (const [name, values] of ratios) {
  const mean = geometricMean(values).toFixed(2);
  rows.push([`geometric mean: ${name}`, "", "", "", "", "", "", mean, ""]);
}
printTable(
  [
    `cold start, containerd ${programs.version}`,
    ...["pull s", "create s", "run s", "start s", "MB", "requests", "overlayfs ÷ it", "reference"],
  ],
  rows,
);
await rm(work, { recursive: true, force: true });

async function coldStart(image: NodeImage, side: Side, slow: SlowLink): Promise<Start> {
  const { door } = side;
  await using lazy = await startLazyNode({ programs, door, registryHost: slow.host });
  return await lazy.watched(async () => {
    await using pod = await startPod(lazy.node);
    await dropCaches();
    slow.resetCounts();
    const reference = `${REGISTRY}/${image.name}${side.suffix}:v1`;
    const pull = await timed(() => pod.pull(reference));
    const create = await timed(() => pod.create(reference, image.command));
    const run = await timed(async () => {
      await create.value.start();
      return await create.value.firstLine();
    });
    const { bytesDown: bytes, requests } = slow.counts;
    const { exitCode, output } = await create.value.ended();
    if (exitCode !== 0) throw new Error(`${reference} ended with ${exitCode}: ${output}`);
    return { pullMs: pull.ms, createMs: create.ms, runMs: run.ms, bytes, requests };
  });
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
