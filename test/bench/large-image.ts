import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type BuiltImage, type PlacedLayer, writeImage } from "@soci-ts/testkit";
import { CACHE } from "../e2e/node-images.ts";
import { sampleLayer } from "./sample-layer.ts";

/** An image of many large layers, and what it holds. */
export interface LargeImage {
  readonly image: BuiltImage;
  readonly compressedBytes: number;
  readonly rawBytes: number;
}

const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";
const BLOCK_BYTES = 512;

/**
 * An image of about `megabytes` compressed, made once and kept. Its layers hold the sample layer's files several times over, each time as a gzip
 * member of its own: that is quick to make, and takes as long to inflate, hash and scan as anything else.
 */
export async function largeImage(megabytes: number, layers: number): Promise<LargeImage> {
  const directory = join(CACHE, "images", `large-${megabytes}-${layers}`);
  const record = join(directory, "built.json");
  if (!existsSync(record)) await build(directory, record, { megabytes, layers });
  return JSON.parse(await readFile(record, "utf8")) as LargeImage;
}

async function build(
  directory: string,
  record: string,
  want: { readonly megabytes: number; readonly layers: number },
): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(join(directory, "blobs/sha256"), { recursive: true });
  const sample = await readFile((await sampleLayer(100)).tar);
  const files = sample.subarray(0, endOfFiles(sample));
  const member = gzipSync(files, { level: 6 });
  const copies = Math.max(1, Math.round((want.megabytes * 1e6) / want.layers / member.length));
  const placed: PlacedLayer[] = [];
  let rawBytes = 0;
  for (let at = 0; at < want.layers; at += 1) {
    // The end differs from layer to layer, so that no two have one digest.
    const end = Buffer.alloc(BLOCK_BYTES * (2 + at));
    const raw = createHash("sha256");
    for (let copy = 0; copy < copies; copy += 1) raw.update(files);
    placed.push({
      descriptor: await writeLayer(directory, [
        ...Array.from({ length: copies }, () => member),
        gzipSync(end),
      ]),
      diffId: `sha256:${raw.update(end).digest("hex")}`,
    });
    rawBytes += copies * files.length + end.length;
  }
  const image = await writeImage(directory, placed);
  const compressedBytes = image.layers.reduce((sum, { size }) => sum + size, 0);
  await writeFile(
    record,
    JSON.stringify({ image, compressedBytes, rawBytes } satisfies LargeImage),
  );
}

/** Where the zeros that end a tar begin. */
function endOfFiles(tar: Uint8Array): number {
  let end = tar.length;
  while (tar.subarray(end - BLOCK_BYTES, end).every((byte) => byte === 0)) end -= BLOCK_BYTES;
  return end;
}

async function writeLayer(
  directory: string,
  members: readonly Uint8Array[],
): Promise<PlacedLayer["descriptor"]> {
  const hash = createHash("sha256");
  const temporary = join(directory, "layer.tmp");
  const file = await open(temporary, "w");
  let size = 0;
  try {
    for (const member of members) {
      hash.update(member);
      await file.writeFile(member);
      size += member.length;
    }
  } finally {
    await file.close();
  }
  const hex = hash.digest("hex");
  await rename(temporary, join(directory, "blobs/sha256", hex));
  return { mediaType: LAYER_TYPE, digest: `sha256:${hex}`, size };
}
