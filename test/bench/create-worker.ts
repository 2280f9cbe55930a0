// Run by create.bench.ts as a process of its own: indexes one layer file and prints what it took.
import { createReadStream } from "node:fs";
import type { EngineName } from "@soci-ts/gzip";
import { buildLayerIndex, encodeZtoc } from "@soci-ts/layer-index";
import { peakMemoryBytes } from "../e2e/run-soci.ts";

const [, , file = "", engine = "zlib"] = process.argv;
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
    peakBytes: peakMemoryBytes(process.pid),
    entries: built.entries.length,
    ztocBytes: ztoc.length,
  }),
);
