// How fast a layer is indexed, and in how much memory: the whole pass (digests, inflate, checkpoints, tar scan, ztoc), by engine.
// Each run is a process of its own; "per core" divides by the CPU time that it used.

import { fileURLToPath } from "node:url";
import { command } from "@soci-ts/testkit";
import { sampleLayer } from "./sample-layer.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

interface CreateFigures {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakBytes: number;
  readonly entries: number;
  readonly ztocBytes: number;
}

const WORKER = fileURLToPath(new URL("./create-worker.js", import.meta.url));
const rows: (string | number)[][] = [];
for (const megabytes of [100, 600]) {
  const layer = await sampleLayer(megabytes);
  for (const engine of ["zlib", "pako"]) {
    const { stdout } = await command(process.execPath, [WORKER, layer.gzip, engine]);
    const run = JSON.parse(stdout) as CreateFigures;
    rows.push([
      `${engine}, ${(layer.gzipBytes / 1e6).toFixed(0)} MB layer`,
      megabytesPerSecond(layer.gzipBytes, run.wallMs),
      megabytesPerSecond(layer.gzipBytes, run.cpuMs),
      megabytesPerSecond(layer.tarBytes, run.wallMs),
      (run.peakBytes / 1e6).toFixed(0),
      run.entries,
      (run.ztocBytes / 1e6).toFixed(1),
    ]);
  }
}
printTable(
  ["create", "MB/s in", "MB/s in per core", "MB/s raw", "peak MB", "entries", "ztoc MB"],
  rows,
);
