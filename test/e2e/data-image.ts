// Images of many small files, made in code: their sums are known without reading them back.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type BuiltImage,
  type BuiltLayerBlob,
  buildTar,
  gzipLayer,
  pushLayout,
  readLayoutBlob,
  seededBytes,
  seededRandom,
  type TarItem,
  writeLayout,
} from "@soci-ts/testkit";
import { imageLayout, PAUSE } from "./node-images.ts";
import { diffIdsOf } from "./node-pull.ts";
import { soci } from "./soci-command.ts";

/** What an image is made of: busybox, and layers of files that are about half compressible. */
export interface DataImageShape {
  readonly layers: number;
  readonly filesPerLayer: number;
  /** The files' sizes are spread evenly below this. */
  readonly maxBytes: number;
  readonly seed: number;
}

/** An image with its truth. */
export interface DataImage {
  readonly layout: BuiltImage;
  /** SHA-256 of each file, by its path without a leading slash. */
  readonly sums: ReadonlyMap<string, string>;
}

/** Directory of the image that holds nothing but its files. */
export const DATA_FOLDER = "data";

/** Command of a container of such an image that stays until it is stopped. */
export const DATA_SLEEP: readonly string[] = ["/bin/busybox", "sleep", "100000"];

/** Prints what `sha256sum` says of every file, sorted by path. */
export const DATA_HASH: readonly string[] = [
  ...["/bin/busybox", "sh", "-c"],
  `cd / && find ${DATA_FOLDER} -type f | sort | xargs sha256sum 2>&1`,
];

/** Builds an image in a directory of its own. */
export async function dataImage(directory: string, shape: DataImageShape): Promise<DataImage> {
  const sums = new Map<string, string>();
  const layers = [await busyboxLayer()];
  for (let at = 0; at < shape.layers; at += 1) {
    const items = filesOf(shape, at);
    for (const { name, content } of items)
      if (content !== undefined) sums.set(name, createHash("sha256").update(content).digest("hex"));
    layers.push(gzipLayer(await buildTar(items), 1));
  }
  return { layout: await writeLayout(directory, layers), sums };
}

/** What {@link DATA_HASH} prints if every byte is right. */
export function dataHashes({ sums }: DataImage): string {
  const lines = [...sums].map(([path, sum]) => `${sum}  ${path}\n`);
  return lines.sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1)).join("");
}

/** Pushes the image under the tag `v1`; with an index of small spans beside it if there is a store to make that in. */
export async function pushDataImage(
  { layout }: DataImage,
  reference: string,
  indexStore?: string,
): Promise<void> {
  const [host = "", repository = ""] = reference.split("/");
  await pushLayout(layout, host, repository, "v1");
  if (indexStore === undefined) return;
  const options = ["--push", "--min-layer-size", "0", "--span-size", "65536"];
  await soci({ root: indexStore }, "create", ...options, `${reference}:v1`);
}

async function busyboxLayer(): Promise<BuiltLayerBlob> {
  const { directory, layers, config } = await imageLayout(PAUSE);
  const [layer] = layers;
  const path = join(directory, "blobs", config.digest.replace(":", "/"));
  const [diffId] = diffIdsOf(await readFile(path));
  if (layer === undefined || diffId === undefined) throw new Error("the image has no layer");
  const { mediaType, digest } = layer;
  return { mediaType, diffId, blob: await readLayoutBlob(directory, digest) };
}

function filesOf(shape: DataImageShape, layer: number): readonly TarItem[] {
  const { filesPerLayer, maxBytes, seed } = shape;
  const next = seededRandom(seed * 1000 + layer);
  const folder = `${DATA_FOLDER}/${layer}`;
  const folders = [`${DATA_FOLDER}/`, `${folder}/`].map(
    (name): TarItem => ({ name, type: "directory", mode: 0o755 }),
  );
  const files = Array.from({ length: filesPerLayer }, (_, at): TarItem => {
    const size = Math.floor(next() * maxBytes);
    const content = seededBytes(size, seed * 1_000_000 + layer * 100_000 + at);
    return { name: `${folder}/${at}`, content };
  });
  return [...folders, ...files];
}
