// One image pulled by 20 clients at once through a companion, against pulls from its upstream, across a link that counts.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  command,
  layerOf,
  pushLayout,
  type SlowLink,
  seededBytes,
  startDockerRegistry,
  startSlowLink,
  writeLayout,
} from "@soci-ts/testkit";
import { startCompanionService } from "../e2e/companion-service.ts";
import { printTable } from "./table.ts";

const LAYERS = 6;
const LAYER_BYTES = 10_000_000;
const CLIENTS = 20;
const READS = 60;
const PULLER = fileURLToPath(new URL("companion-puller.js", import.meta.url));
const READER = fileURLToPath(new URL("companion-reader.js", import.meta.url));
/** Where what a lazy start waits for is seen best. */
const SLOW = { rttMs: 20, megabitPerSecond: 200 } as const;
const LINKS = [
  { name: "loopback", rttMs: 0, megabitPerSecond: 100_000 },
  { name: "20 ms, 1 Gbit/s", rttMs: 20, megabitPerSecond: 1_000 },
] as const;

interface Pull {
  readonly from: string;
  readonly clients: number;
  /** A process that does it; by default it pulls. */
  readonly program?: string;
}

async function measure(link: SlowLink, pull: Pull): Promise<string[]> {
  const { from, clients, program = PULLER } = pull;
  link.resetCounts();
  const args = [program, `http://${from}`, "image", String(clients)];
  const { stdout } = await command(process.execPath, args);
  const { milliseconds, bytes } = JSON.parse(stdout) as { milliseconds: number; bytes: number };
  const { requests, bytesDown } = link.counts;
  return [
    (milliseconds / 1000).toFixed(2),
    (bytes / 1e6).toFixed(0),
    (bytesDown / 1e6).toFixed(1),
    String(requests),
  ];
}

const work = await mkdtemp(join(tmpdir(), "soci-companion-bench-"));
try {
  await using upstream = await startDockerRegistry();
  const layers = Array.from({ length: LAYERS }, (_, at) => {
    const blob = seededBytes(LAYER_BYTES, at + 1);
    return layerOf(blob, blob, "application/vnd.oci.image.layer.v1.tar");
  });
  await pushLayout(await writeLayout(join(work, "image"), layers), upstream.host, "image", "v1");
  const rows: string[][] = [];
  for (const { name, ...options } of LINKS) {
    await using link = await startSlowLink(upstream.host, options);
    const direct = { from: link.host, clients: 1 };
    rows.push([`${name}: 1 client, upstream`, ...(await measure(link, direct))]);
    rows.push([
      `${name}: ${CLIENTS} clients, upstream`,
      ...(await measure(link, { ...direct, clients: CLIENTS })),
    ]);
    for (const clients of [1, CLIENTS]) {
      await using companion = await startCompanionService("up.test", link.host);
      const through = { from: companion.host, clients };
      rows.push([`${name}: ${clients} cold, companion`, ...(await measure(link, through))]);
      await companion.settled();
      rows.push([`${name}: ${clients} again, companion`, ...(await measure(link, through))]);
    }
  }
  await using link = await startSlowLink(upstream.host, SLOW);
  const name = `20 ms, 200 Mbit/s: ${READS} ranges of 128 KiB`;
  const read = { from: link.host, clients: READS, program: READER };
  rows.push([`${name}, upstream`, ...(await measure(link, read))]);
  await using companion = await startCompanionService("up.test", link.host);
  rows.push([
    `${name}, cold, companion`,
    ...(await measure(link, { ...read, from: companion.host })),
  ]);
  await companion.settled();
  rows.push([
    `${name}, again, companion`,
    ...(await measure(link, { ...read, from: companion.host })),
  ]);
  const megabytes = (LAYERS * LAYER_BYTES) / 1e6;
  const title = `pulls of an image of ${megabytes} MB`;
  printTable([title, "s", "MB to clients", "MB of upstream", "requests of upstream"], rows);
} finally {
  await rm(work, { recursive: true, force: true });
}
