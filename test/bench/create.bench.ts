// How fast a layer is indexed, and in how much memory: the whole pass (digests, inflate, checkpoints, tar scan, ztoc) in its thread, by engine, beside
// pako alone; then whole images from a registry on the loopback by the real command.
//   node test/bench.mjs --only create [--big]        --big: also an image of 5 GB
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  command,
  hasProgram,
  layerOf,
  pushLayout,
  startDockerRegistry,
  writeLayout,
} from "@soci-ts/testkit";
import { SOCI_PROGRAM } from "../e2e/soci-command.ts";
import type { CreateFigures } from "./create-worker.ts";
import { largeImage } from "./large-image.ts";
import { measuredRun } from "./measured-run.ts";
import { type SampleLayer, sampleLayer } from "./sample-layer.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

/** With such spans the larger layer has nearly as many windows as one of 20 GiB has otherwise: memory grows with their number. */
const SMALL_SPAN_BYTES = 131_072;
const WORKER = fileURLToPath(new URL("./create-worker.js", import.meta.url));
const isBig = process.env["SOCI_BENCH_BIG"] !== undefined;

await benchLayers();
if (hasProgram("docker-registry")) await benchImages();
else console.log("  docker-registry is not on the PATH: no images from a registry");

/** Images of one layer. */
async function benchLayers(): Promise<void> {
  const rows: (string | number)[][] = [];
  for (const megabytes of [100, 600]) {
    const layer = await sampleLayer(megabytes);
    const size = `${(layer.gzipBytes / 1e6).toFixed(0)} MB layer`;
    const work = await mkdtemp(join(tmpdir(), "soci-bench-"));
    try {
      const layout = await layoutOf(layer, join(work, "layout"));
      for (const engine of ["zlib", "pako"]) {
        const args = [WORKER, layout, join(work, engine), engine];
        const { stdout } = await command(process.execPath, args);
        rows.push(layerRow(`${engine}, ${size}`, layer, JSON.parse(stdout) as CreateFigures));
      }
      if (megabytes === 600) {
        const args = [WORKER, layout, join(work, "spans"), "zlib", String(SMALL_SPAN_BYTES)];
        const { stdout } = await command(process.execPath, args);
        const name = `zlib, ${size}, spans of 128 KiB`;
        rows.push(layerRow(name, layer, JSON.parse(stdout) as CreateFigures));
      }
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    if (megabytes === 100) rows.push(await pakoRow(layer, size));
  }
  printTable(
    ["one layer", "MB/s in", "MB/s in per CPU second", "MB/s raw", "peak MB", "ztoc MB"],
    rows,
  );
}

async function layoutOf(layer: SampleLayer, directory: string): Promise<string> {
  const blob = await readFile(layer.gzip);
  const type = "application/vnd.oci.image.layer.v1.tar+gzip";
  await writeLayout(directory, [layerOf(await readFile(layer.tar), blob, type)]);
  return directory;
}

function layerRow(name: string, layer: SampleLayer, run: CreateFigures): (string | number)[] {
  return [
    name,
    megabytesPerSecond(layer.gzipBytes, run.wallMs),
    megabytesPerSecond(layer.gzipBytes, run.cpuMs),
    megabytesPerSecond(layer.tarBytes, run.wallMs),
    (run.peakBytes / 1e6).toFixed(0),
    (run.ztocBytes / 1e6).toFixed(1),
  ];
}

/** pako's own streaming inflate, which makes no index: the speed that the path without FFI is to come near. */
async function pakoRow(layer: SampleLayer, size: string): Promise<(string | number)[]> {
  const owner = new URL("../../../packages/gzip/package.json", import.meta.url);
  const { Inflate } = createRequire(owner)("pako") as {
    readonly Inflate: new (
      options: object,
    ) => {
      onData(bytes: Uint8Array): void;
      push(bytes: Uint8Array, isLast: boolean): boolean;
    };
  };
  const gzip = await readFile(layer.gzip);
  const started = performance.now();
  const before = process.cpuUsage();
  const inflate = new Inflate({ chunkSize: 262_144 });
  inflate.onData = () => {};
  for (let at = 0; at < gzip.length; at += 65_536) {
    inflate.push(gzip.subarray(at, at + 65_536), at + 65_536 >= gzip.length);
  }
  const { user, system } = process.cpuUsage(before);
  const wallMs = performance.now() - started;
  return [
    `pako's own inflate, ${size}`,
    megabytesPerSecond(layer.gzipBytes, wallMs),
    megabytesPerSecond(layer.gzipBytes, (user + system) / 1000),
    megabytesPerSecond(layer.tarBytes, wallMs),
    "",
    "",
  ];
}

async function benchImages(): Promise<void> {
  const rows: string[][] = [];
  for (const [megabytes, layers] of isBig
    ? ([
        [1000, 8],
        [5000, 20],
      ] as const)
    : ([[1000, 8]] as const)) {
    const { image, compressedBytes, rawBytes } = await largeImage(megabytes, layers);
    await using registry = await startDockerRegistry();
    await pushLayout(image, registry.host, "large", "v1");
    const root = await mkdtemp(join(tmpdir(), "soci-bench-"));
    try {
      for (const jobs of [1, 2]) {
        const store = join(root, `store-${jobs}`);
        const args = [
          "--root",
          store,
          "create",
          "--jobs",
          String(jobs),
          `${registry.host}/large:v1`,
        ];
        const { wallMs, peakBytes } = await measuredRun(SOCI_PROGRAM, args);
        rows.push([
          `${(compressedBytes / 1e9).toFixed(1)} GB, ${(rawBytes / 1e9).toFixed(1)} GB raw, ${layers} layers, --jobs ${jobs}`,
          (wallMs / 1000).toFixed(1),
          megabytesPerSecond(compressedBytes, wallMs),
          megabytesPerSecond(rawBytes, wallMs),
          (peakBytes / 1e6).toFixed(0),
        ]);
      }
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  }
  printTable(["soci create, loopback registry", "s", "MB/s in", "MB/s raw", "peak MB"], rows);
  if (!isBig) console.log("  an image of 5 GB is indexed too with --big");
}
