// soci-referrers over the loopback, as a process of its own beside this one: manifests and referrers a second over keep-alive connections, pages of
// referrers out of a catalogue with a million of them, and whole blobs beside docker-registry in the same run.
//   node test/bench.mjs --only referrers
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  hasProgram,
  type RunningRegistry,
  startDockerRegistry,
  startEmbeddedRegistry,
} from "@soci-ts/testkit";
import { KeepAlive, type LoadFigures, percentile, runLoad } from "./keep-alive.ts";
import { fillReferrers, HOT_SUBJECT, MILLION, subjectOf } from "./million-referrers.ts";
import { cpuMilliseconds, pushBlob, pushManifest } from "./registry-content.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

const DOCKER = "docker-registry";
const CONNECTIONS = [1, 16, 64];
const REQUESTS = 20_000;
/** docker-registry answers some ten times as slowly. */
const REQUESTS_DOCKER = 2_000;
const PAGES = 2_000;
const BLOB_BYTES = 256 * 1024 * 1024;
const ROUNDS = 5;

await benchManifests();
await benchPages();
await benchBlobs();

/** Both registries hold the same manifest. */
async function benchManifests(): Promise<void> {
  const rows: (string | number)[][] = [];
  for (const [name, start] of registries()) {
    await using registry = await start();
    const digest = await pushManifest(registry.host, "bench/image", "latest");
    for (const connections of CONNECTIONS) {
      for (const reference of ["latest", digest]) {
        const load = {
          host: registry.host,
          connections,
          requests: name === DOCKER ? REQUESTS_DOCKER : REQUESTS,
          path: () => `/v2/bench/image/manifests/${reference}`,
        };
        await runLoad({ ...load, requests: load.requests / 10 });
        const before = await cpuMilliseconds(registry.pid);
        const figures = await runLoad(load);
        const cpuMs = (await cpuMilliseconds(registry.pid)) - before;
        const by = reference === "latest" ? "tag" : "digest";
        rows.push([
          `${name}, by ${by}, ${connections} connections`,
          ...loadColumns(figures, cpuMs),
        ]);
      }
    }
  }
  printTable(["manifest GET", "a second", "p50 ms", "p99 ms", "server CPU µs each"], rows);
}

function loadColumns({ requests, wallMs, latenciesMs }: LoadFigures, cpuMs: number): string[] {
  return [
    ((requests / wallMs) * 1000).toFixed(0),
    percentile(latenciesMs, 0.5).toFixed(2),
    percentile(latenciesMs, 0.99).toFixed(2),
    ((cpuMs * 1000) / requests).toFixed(0),
  ];
}

/** Half of the referrers have one subject, the others are five to a subject. */
async function benchPages(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "soci-bench-"));
  try {
    await (await startEmbeddedRegistry({ root }))[Symbol.asyncDispose]();
    const filledMs = fillReferrers(root);
    console.log(`  ${MILLION} referrers written in ${(filledMs / 1000).toFixed(1)} s`);
    await using registry = await startEmbeddedRegistry({ root });
    const type = "application%2Fvnd.example.type-3";
    const hot = `/v2/bench/million/referrers/${HOT_SUBJECT}`;
    const ways: [string, (n: number) => string][] = [
      ["250 of 500,000, anywhere", (n) => `${hot}?last=${(n * 7919) % 490_000}`],
      ["250 of one type of ten", (n) => `${hot}?artifactType=${type}&last=${(n * 7919) % 480_000}`],
      ["all 5 of a subject", (n) => `/v2/bench/million/referrers/${subjectOf(n * 7919)}`],
      ["of an unknown subject", (n) => `/v2/bench/million/referrers/${subjectOf(200_000 + n)}`],
    ];
    const rows: (string | number)[][] = [];
    for (const [name, path] of ways) {
      const load = { host: registry.host, connections: 1, requests: PAGES, path };
      await runLoad({ ...load, requests: PAGES / 10 });
      const before = await cpuMilliseconds(registry.pid);
      const figures = await runLoad(load);
      const cpuMs = (await cpuMilliseconds(registry.pid)) - before;
      rows.push([name, ...loadColumns(figures, cpuMs)]);
    }
    printTable(["page of referrers", "a second", "p50 ms", "p99 ms", "server CPU µs each"], rows);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** The same bytes from both, in turn. */
async function benchBlobs(): Promise<void> {
  const bytes = randomBytes(BLOB_BYTES);
  const running: { name: string; registry: RunningRegistry; path: string; tookMs: number[] }[] = [];
  try {
    for (const [name, start] of registries()) {
      const registry = await start();
      const path = `/v2/bench/blob/blobs/${await pushBlob(registry.host, "bench/blob", bytes)}`;
      running.push({ name, registry, path, tookMs: [] });
    }
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const { registry, path, tookMs } of running) {
        const tookFor = await timeBlob(registry.host, path);
        if (round > 0) tookMs.push(tookFor);
      }
    }
    const rows = running.map(({ name, tookMs }) => {
      const median = percentile(
        tookMs.sort((a, b) => a - b),
        0.5,
      );
      return [name, median.toFixed(0), megabytesPerSecond(BLOB_BYTES, median)];
    });
    printTable([`blob of ${BLOB_BYTES / 2 ** 20} MiB, median of ${ROUNDS}`, "ms", "MB/s"], rows);
  } finally {
    for (const { registry } of running) await registry[Symbol.asyncDispose]();
  }
}

async function timeBlob(host: string, path: string): Promise<number> {
  const connection = await KeepAlive.open(host);
  const started = performance.now();
  await connection.get(path);
  const took = performance.now() - started;
  connection.close();
  return took;
}

function registries(): [name: string, start: () => Promise<RunningRegistry>][] {
  const docker: [string, () => Promise<RunningRegistry>] = [DOCKER, startDockerRegistry];
  const ours: [string, () => Promise<RunningRegistry>] = ["soci-referrers", startEmbeddedRegistry];
  return hasProgram(DOCKER) ? [ours, docker] : [ours];
}
