// How long reads of present bytes take while the layer server does nothing, hydrates another layer, and hashes it: through FUSE, past the page cache.
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { type Digest, delay, silentLogger, silentMetrics } from "@soci-ts/core";
import { type LazyNodeLayers, openNodeLayers, startMountHelper } from "@soci-ts/snapshotter";
import {
  buildTar,
  command,
  gzipLayer,
  layerOf,
  pushLayout,
  seededBytes,
  startEmbeddedRegistry,
  writeLayout,
  writeRegistryHosts,
} from "@soci-ts/testkit";
import { soci } from "../e2e/soci-command.ts";
import { sampleLayer } from "./sample-layer.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

const PROGRAM = fileURLToPath(
  new URL("../../../apps/snapshotter/bin/soci-snapshotter.js", import.meta.url),
);
const PACKAGE = new URL("../../../apps/snapshotter/package.json", import.meta.url);
const { version: VERSION } = JSON.parse(await readFile(PACKAGE, "utf8")) as { version: string };
const READER = fileURLToPath(new URL("./hydrate-reader.js", import.meta.url));
const MEGABYTES = 200;
const WINDOW_MS = 2000;
const IDLE_MS = 100;
/** The default, and more than the machine can do. */
const RATES = [20_971_520, 10_000_000_000];

const work = await mkdtemp(join(tmpdir(), "soci-hydrate-"));
await using registry = await startEmbeddedRegistry();
const reference = `${registry.host}/bench:v1`;
const requests = await publish();
const rows: string[][] = [];
for (const rate of RATES) rows.push(...(await measure(rate)));
printTable(
  ["present bytes, ms", "reads", "4K p50", "p99", "max", "128K p50", "p99", "max", "MB/s"],
  rows,
);
await rm(work, { recursive: true, force: true });

/** A small layer that is read, and a large one that is hydrated. */
async function publish(): Promise<
  readonly { readonly layerDigest: Digest; readonly manifestDigest: Digest; chainId: string }[]
> {
  const files = Array.from({ length: 16 }, (_, at) => ({
    name: `file-${at}`,
    content: seededBytes(4_000_000, at + 1),
  }));
  const blob = await readFile((await sampleLayer(MEGABYTES)).gzip);
  const layers = [
    gzipLayer(await buildTar(files)),
    layerOf(gunzipSync(blob), blob, "application/vnd.oci.image.layer.v1.tar+gzip"),
  ];
  const image = await writeLayout(join(work, "layout"), layers);
  await pushLayout(image, registry.host, "bench", "v1");
  const builder = { root: join(work, "builder") };
  await soci(builder, "create", "--push", "--min-layer-size", "0", reference);
  const [first = "", second = ""] = layers.map(({ diffId }) => diffId);
  const both = createHash("sha256").update(`${first} ${second}`).digest("hex");
  const chainIds = [first, `sha256:${both}`];
  return image.layers.map(({ digest }, at) => ({
    layerDigest: digest as Digest,
    manifestDigest: image.manifest.digest as Digest,
    chainId: chainIds[at] ?? "",
  }));
}

/** Rows of one hydration rate. */
async function measure(rate: number): Promise<string[][]> {
  const folder = await mkdtemp(join(work, "node-"));
  const root = join(folder, "root");
  const hosts = join(folder, "hosts");
  await writeRegistryHosts(hosts, { [registry.host]: registry.host });
  const config = join(folder, "config.toml");
  await writeFile(
    config,
    `[registry]\nhosts_directory = "${hosts}"\n[hydrate]\nmax_bytes_per_second = ${rate}\nidle_ms = ${IDLE_MS}\n`,
  );
  await mkdir(root);
  const role = (name: string) => ({
    argv: [process.execPath, PROGRAM, "--root", root, "--config", config, name] as const,
    environment: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  await using mounter = startMountHelper({ ...role("mount-helper"), logger: silentLogger });
  await using layers = await openNodeLayers({
    root,
    door: "erofs",
    local: "off",
    program: { version: VERSION, path: PROGRAM },
    mounter,
    keeper: role("keeper"),
    worker: role("image-worker"),
    policyOf: () => "any",
    idleReleaseMs: 60_000,
    failureMemoryMs: 1000,
    logger: silentLogger,
    metrics: silentMetrics,
  });
  const numbers: number[] = [];
  for (const request of requests) {
    const outcome = await layers.prepareLayer({ ...request, imageReference: reference });
    if (outcome.kind !== "lazy") throw new Error(JSON.stringify(outcome.story));
    numbers.push(outcome.layer);
  }
  const [small = 0, large = 0] = numbers;
  await readAll(join(root, "f", `d${small}`));
  await until(layers, small);
  const { sizeBytes } = await statsOf(layers, small);
  const reads = () => readFor(join(root, "f", `d${small}`), sizeBytes);
  const title = `${(rate / 2 ** 20).toFixed(0)} MiB/s`;
  const rows = [row(`nothing else`, await reads(), "-")];
  await command("dd", [`if=${join(root, "f", `d${large}`)}`, "of=/dev/null", "bs=4096", "count=1"]);
  await delay(2 * IDLE_MS);
  for (let part = 0; !(await statsOf(layers, large)).isComplete && part < 4; part += 1) {
    const before = await hydratedBytes(layers);
    const started = performance.now();
    const taken = await reads();
    const bytes = (await hydratedBytes(layers)) - before;
    const speed = megabytesPerSecond(bytes, performance.now() - started);
    rows.push(row(`hydrating, ${title}`, taken, speed));
  }
  const isHashing = (await statsOf(layers, large)).verdict === "unknown";
  if (isHashing) rows.push(row("the end of it, and hashing", await reads(), "-"));
  layers.retain(new Set());
  return rows;
}

async function statsOf(layers: LazyNodeLayers, layer: number) {
  const stats = (await layers.layerStats([layer])).get(layer);
  if (stats === undefined) throw new Error("no figures");
  return stats;
}

async function hydratedBytes(layers: LazyNodeLayers): Promise<number> {
  return (await layers.serverStats())?.counters["soci_layer_hydrated_bytes_total"] ?? 0;
}

async function until(layers: LazyNodeLayers, layer: number): Promise<void> {
  while ((await statsOf(layers, layer)).verdict !== "right") await delay(100);
}

async function readAll(path: string): Promise<void> {
  await command("dd", [`if=${path}`, "of=/dev/null", "bs=1M"]);
}

async function readFor(path: string, sizeBytes: number): Promise<readonly number[][]> {
  const args = [READER, path, String(sizeBytes), String(WINDOW_MS)];
  return JSON.parse((await command(process.execPath, args)).stdout) as number[][];
}

function row(what: string, taken: readonly number[][], speed: string): string[] {
  const figures = taken.flatMap((times) => {
    const sorted = [...times].sort((a, b) => a - b);
    const at = (part: number): string =>
      (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(2);
    return [at(0.5), at(0.99), at(1)];
  });
  return [what, String(taken.flat().length), ...figures, speed];
}
