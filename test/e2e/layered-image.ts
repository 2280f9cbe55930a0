import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildTar, gzipLayer, pushLayout, seededBytes, writeLayout } from "@soci-ts/testkit";
import { runSoci } from "./run-soci.ts";

/** An image with one layer for each of its files, so that each can have troubles of its own. */
export interface LayeredImage {
  /** Its reference, less the host. */
  readonly name: string;
  /** Digest of its index. */
  readonly index: string;
  /** Digest of the layer that holds a file. */
  layerOf(file: string): string;
  /** Where the same bytes are, outside of the image. */
  original(file: string): string;
}

/** The file that can be run: a shell, the larger the better. */
export const PROGRAM = "program";

const SHELLS = ["/bin/bash", "/bin/sh"];
const FILE_BYTES = 300_000;
/** Least size of the spans, for `--span-size`. */
export const SPAN_BYTES = "65536";

/** Where an image is made, indexed and pushed to. */
export interface LayeredImagePlaces {
  /** Holds the originals and the layout. */
  readonly directory: string;
  /** `soci --root`. */
  readonly store: string;
  readonly host: string;
}

/** Builds an image whose layers hold a file each, and pushes it and its index to a registry. */
export async function pushLayeredImage(
  { directory, store, host }: LayeredImagePlaces,
  files: readonly string[],
): Promise<LayeredImage> {
  const originals = join(directory, "originals");
  await mkdir(originals, { recursive: true });
  const layers = [];
  for (const [at, name] of files.entries()) {
    const content = name === PROGRAM ? await readShell() : seededBytes(FILE_BYTES, at + 1);
    await writeFile(join(originals, name), content);
    layers.push(gzipLayer(await buildTar([{ name, content, mode: 0o755 }])));
  }
  const image = await writeLayout(join(directory, "layout"), layers);
  await pushLayout(image, host, "faults", "v1");
  const { exitCode, error, document } = await runSoci(
    store,
    ...["create", "--push", "--min-layer-size", "0", "--span-size", SPAN_BYTES],
    `${host}/faults:v1`,
  );
  if (exitCode !== 0) throw new Error(`Cannot index the image: ${error.message}`);
  return {
    name: "faults:v1",
    index: String(document["index"]),
    layerOf: (file) => image.layers[files.indexOf(file)]?.digest ?? "",
    original: (file) => join(originals, file),
  };
}

async function readShell(): Promise<Uint8Array> {
  const path = SHELLS.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`none of ${SHELLS.join(", ")} is there`);
  return readFile(path);
}
