import { mkdir, readFile, realpath, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildTar, gzipLayer, pushLayout, seededBytes, writeLayout } from "@soci-ts/testkit";
import { runSoci } from "./run-soci.ts";

/** An image with one layer for each of its files, so that each can have troubles of its own. */
export interface LayeredImage {
  /** `HOST/REPOSITORY:TAG` less the host. */
  readonly name: string;
  /** Digest of the layer that holds a file. */
  layerOf(file: string): string;
  /** The same bytes, outside of the image. */
  original(file: string): string;
}

/** The file that can be run. */
export const PROGRAM = "program";
/** What that file is a copy of. */
const SHELL = "/bin/sh";

const FILE_BYTES = 300_000;
const SPAN_BYTES = "65536";

/** Builds an image whose layers hold a file each, pushes it and its index, and keeps nothing else. */
export async function pushLayeredImage(
  directory: string,
  host: string,
  files: readonly string[],
): Promise<LayeredImage> {
  const originals = join(directory, "originals");
  await mkdir(originals, { recursive: true });
  const layers = [];
  for (const [at, name] of files.entries()) {
    const content =
      name === PROGRAM ? await readFile(await realpath(SHELL)) : seededBytes(FILE_BYTES, at + 1);
    await writeFile(join(originals, name), content);
    layers.push(gzipLayer(await buildTar([{ name, content, mode: 0o755 }])));
  }
  const image = await writeLayout(join(directory, "layout"), layers);
  await pushLayout(image, host, "faults", "v1");
  const { exitCode, error } = await runSoci(
    join(directory, "builder"),
    ...["create", "--push", "--min-layer-size", "0", "--span-size", SPAN_BYTES],
    `${host}/faults:v1`,
  );
  if (exitCode !== 0) throw new Error(`Cannot index the image: ${error.message}`);
  return {
    name: "faults:v1",
    layerOf: (file) => image.layers[files.indexOf(file)]?.digest ?? "",
    original: (file) => join(originals, file),
  };
}
