import { join } from "node:path";
import {
  type BuiltImage,
  buildTar,
  gzipLayer,
  seededBytes,
  type TarItem,
  writeLayout,
} from "@soci-ts/testkit";

/** Bytes of `usr/share/data` in {@link sampleImage}. */
export const DATA_BYTES = 3_000_000;

/** An image of two gzip layers as an OCI layout: a large file and small ones below, a link and a change of one on top. */
export async function sampleImage(directory: string): Promise<BuiltImage> {
  const lower: TarItem[] = [
    { name: "etc/", type: "directory" },
    { name: "etc/os-release", content: "ID=sample\n" },
    { name: "usr/share/data", content: seededBytes(DATA_BYTES, 11) },
    { name: "usr/share/last", content: "the end\n" },
  ];
  const upper: TarItem[] = [
    { name: "etc/os-release", content: "ID=changed\n" },
    { name: "etc/link", type: "symlink", linkname: "os-release" },
  ];
  const layers = [gzipLayer(await buildTar(lower)), gzipLayer(await buildTar(upper))];
  return writeLayout(join(directory, "layout"), layers);
}

/** An image with one layer that takes a second or so to index: for interrupting the command. */
export async function largeImage(directory: string, sizeBytes: number): Promise<BuiltImage> {
  const content = seededBytes(4_000_000, 5);
  const count = Math.ceil(sizeBytes / content.length);
  const items: TarItem[] = Array.from({ length: count }, (_, at) => ({
    name: `data/${at}`,
    content,
  }));
  return writeLayout(join(directory, "large"), [gzipLayer(await buildTar(items), 1)]);
}
