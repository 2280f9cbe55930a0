// A node that has an image mounted: the python image through a container's overlay mount, with the registry on the loopback.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, processesNaming, startDockerRegistry } from "@soci-ts/testkit";
import { type Door, type LazyNode, publish, startLazyNode } from "../e2e/node-fixture.ts";
import { PAUSE } from "../e2e/node-images.ts";
import { pullWithLabels } from "../e2e/node-pull.ts";
import { withMounted } from "../e2e/node-trees.ts";
import {
  benchContainerd,
  dropCaches,
  memoryBytes,
  pageCacheBytes,
  seconds,
  timed,
} from "./node-bench.ts";
import { BENCH_IMAGES } from "./node-bench-images.ts";
import { printTable } from "./table.ts";

const SIDES: readonly Door[] = ["overlayfs", "erofs", "loop", "fuse"];
const NAMESPACE = "bench";
/** What the peers took, in seconds; measured on another day with an image much like this. */
const PEERS: readonly (readonly [row: string, soci: string, nydus: string])[] = [
  ["find with stat, caches dropped, s", "1.08", "0.37"],
  ["find with stat, warm, s", "0.24", "0.04"],
  ["read all, nothing local (overlayfs: pulled), s", "6.64", "3.25"],
  ["read all, on disk, page cache dropped, s", "4.2", "1.35"],
  ["read all, page cache warm, s", "1.50", "0.84"],
  ["page cache used by one read of all, MB", "-", "-"],
  ["memory of its processes (PSS), MB", "95", "106"],
];

const image = BENCH_IMAGES.find(({ name }) => name === "python");
if (image === undefined) throw new Error("Cannot run: no python image");
const programs = await benchContainerd();
const work = await mkdtemp(join(tmpdir(), "soci-steady-"));
await using registry = await startDockerRegistry();
await publish(registry.host, [{ image: PAUSE }], undefined);
await publish(registry.host, [{ image }], { store: join(work, "store"), minLayerBytes: undefined });

const columns: string[][] = [];
for (const door of SIDES) {
  await using lazy = await startLazyNode({ programs, door, registryHost: registry.host });
  columns.push(await lazy.watched(() => measure(lazy)));
}
printTable(
  [`steady state, containerd ${programs.version}`, ...SIDES, "SOCI", "Nydus"],
  PEERS.map(([row, ...peers], at) => [row, ...columns.map((column) => column[at] ?? ""), ...peers]),
);
await rm(work, { recursive: true, force: true });

/** The figures of one side, in the order of the rows. */
async function measure({ node, snapshotter: daemon }: LazyNode): Promise<string[]> {
  const { snapshotter } = node;
  const { chainId } = await pullWithLabels(node, {
    namespace: NAMESPACE,
    snapshotter,
    host: registry.host,
    repository: image?.name ?? "",
    tag: "v1",
    reference: "registry.test/python:v1",
  });
  const container = { namespace: NAMESPACE, snapshotter, chainId, kind: "active" } as const;
  return await withMounted(node, container, async (directory) => {
    const find = () => shell('find "$0" -xdev -printf "%s %p\\n" > /dev/null', directory);
    const readAll = () =>
      shell('find "$0" -xdev -type f -print0 | xargs -0 cat > /dev/null', directory);
    await dropCaches();
    const times = [(await timed(find)).ms, (await timed(find)).ms];
    times.push((await timed(readAll)).ms);
    await dropCaches();
    const before = await pageCacheBytes();
    times.push((await timed(readAll)).ms);
    const cached = (await pageCacheBytes()) - before;
    times.push((await timed(readAll)).ms);
    const pids = daemon === undefined ? [] : await processesNaming(daemon.root);
    const memory = await memoryBytes(pids);
    return [
      ...times.map(seconds),
      megabytes(cached),
      daemon === undefined ? "-" : megabytes(memory),
    ];
  });
}

async function shell(line: string, directory: string): Promise<void> {
  await command("sh", ["-c", line, directory]);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
