// Run by create.bench.ts as a process of its own: indexes one layer file and prints what it took.
import { createReadStream, readFileSync } from "node:fs";
import type { EngineName } from "@soci-ts/gzip";
import { buildLayerIndex, encodeZtoc } from "@soci-ts/layer-index";

const [, , file = "", engine = "zlib"] = process.argv;
const baseBytes = process.memoryUsage.rss();
const started = performance.now();
const before = process.cpuUsage();
const built = await buildLayerIndex(createReadStream(file, { highWaterMark: 262_144 }), {
  compression: "gzip",
  spanSizeBytes: 4_194_304,
  engine: engine as EngineName,
});
if (built.index === undefined) throw new Error("the sample layer gave no index");
const ztoc = encodeZtoc(built.index);
const cpu = process.cpuUsage(before);
console.log(
  JSON.stringify({
    wallMs: performance.now() - started,
    cpuMs: (cpu.user + cpu.system) / 1000,
    peakBytes: peakResidentBytes(),
    baseBytes,
    entries: built.entries.length,
    ztocBytes: ztoc.length,
  }),
);

function peakResidentBytes(): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
}
