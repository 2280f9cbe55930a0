// Run by create.bench.ts as a process of its own: indexes the image of a layout and prints what it took.
import type { EngineName } from "@soci-ts/gzip";
import { createIndex, ociLayoutImageSource } from "@soci-ts/soci";
import { openStore } from "@soci-ts/store";
import { peakMemoryBytes } from "../e2e/run-soci.ts";

/** What one run took. */
export interface CreateFigures {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakBytes: number;
  readonly ztocBytes: number;
}

const [, , layout = "", root = "", engine = "zlib", spanSize] = process.argv;
await using store = await openStore(root);
const started = performance.now();
const before = process.cpuUsage();
const { layers } = await createIndex({
  source: ociLayoutImageSource(layout),
  store,
  engine: engine as EngineName,
  ...(spanSize !== undefined && { spanSizeBytes: Number(spanSize) }),
});
const cpu = process.cpuUsage(before);
const figures: CreateFigures = {
  wallMs: performance.now() - started,
  cpuMs: (cpu.user + cpu.system) / 1000,
  peakBytes: peakMemoryBytes(process.pid),
  ztocBytes: layers.reduce((sum, { ztoc }) => sum + (ztoc?.size ?? 0), 0),
};
console.log(JSON.stringify(figures));
