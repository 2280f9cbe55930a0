// What the benchmarks of a whole node share.
import { readFile, writeFile } from "node:fs/promises";
import { command } from "@soci-ts/testkit";
import { containerdsForTests } from "../e2e/node-fixture.ts";

type Programs = Awaited<ReturnType<typeof containerdsForTests>>["programs"][number];

/** The containerd that a benchmark runs with: the newest 1.x. */
export async function benchContainerd(): Promise<Programs> {
  const { programs, skip } = await containerdsForTests();
  const chosen = programs.filter(({ version }) => version.startsWith("1.")).at(-1);
  if (chosen === undefined) throw new Error(`Cannot run: ${skip || "no containerd 1.x"}`);
  return chosen;
}

/** Writes out what is dirty and empties the page cache, dentries and inodes. */
export async function dropCaches(): Promise<void> {
  await command("sync", []);
  await writeFile("/proc/sys/vm/drop_caches", "3");
}

/** Runs some work; how long it took in milliseconds, and what it gave. */
export async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const started = performance.now();
  const value = await work();
  return { ms: performance.now() - started, value };
}

/** Seconds with two digits. */
export function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}

/** Memory of the page cache of the whole machine, in bytes. */
export async function pageCacheBytes(): Promise<number> {
  const kilobytes = /^Cached:\s+(\d+) kB$/m.exec(await readFile("/proc/meminfo", "utf8"))?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** Memory of processes in bytes, what they share divided among them (PSS). */
export async function memoryBytes(pids: readonly number[]): Promise<number> {
  let sum = 0;
  for (const pid of pids) {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => ""); // ended
    sum += Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
  }
  return sum;
}
