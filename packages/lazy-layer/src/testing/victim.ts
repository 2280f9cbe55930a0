import process from "node:process";
import { openLazyLayer, streamLayer } from "../index.ts";
import { testLayer, VICTIM_LAYER } from "./layers.ts";
import { MemoryBlob } from "./memory-blob.ts";
import { layerOfTar, makeTar, VICTIM_TAR } from "./tars.ts";

/**
 * A process that works on a cache until it is killed: `node victim.js read|stream DIRECTORY`. It says `ready` when it starts and
 * `done` whenever a piece of work is; it fails if a byte is wrong.
 */
const [work = "", directory = ""] = process.argv.slice(2);

async function readForEver(): Promise<never> {
  const { blob, digest, index, truth } = testLayer(...VICTIM_LAYER);
  process.stdout.write("ready\n");
  for (;;) {
    await using layer = await openLazyLayer({
      directory,
      layerDigest: digest,
      index,
      blob: new MemoryBlob(blob),
    });
    for (let turn = 0; turn < 20; turn += 1) {
      const at = Math.floor(Math.random() * (truth.length - 300_000));
      const bytes = await layer.readAt(at, 300_000);
      if (!Buffer.from(bytes).equals(truth.subarray(at, at + 300_000)))
        throw new Error(`wrong at ${at}`);
      process.stdout.write("done\n");
    }
  }
}

async function streamForEver(): Promise<never> {
  const { blob, descriptor, diffId } = layerOfTar(await makeTar(...VICTIM_TAR), "gzip");
  process.stdout.write("ready\n");
  for (;;) {
    const source = new MemoryBlob(blob);
    const open = (signal: AbortSignal): AsyncIterable<Uint8Array> =>
      source.stream(0, source.size, { signal });
    await streamLayer({ directory, descriptor, diffId, open });
    process.stdout.write("done\n");
  }
}

await (work === "read" ? readForEver() : streamForEver());
