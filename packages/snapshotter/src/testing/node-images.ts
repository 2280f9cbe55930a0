import { createHash } from "node:crypto";
import { type BuiltLayerBlob, buildTar, gzipLayer, layerOf, seededBytes } from "@soci-ts/testkit";

/** Three layers that hide, replace and link what is below, and (as umoci writes them) leave parent directories out. */
export async function threeLayers(seed = 1): Promise<readonly BuiltLayerBlob[]> {
  const bottom = await buildTar([
    { name: "./", type: "directory", mode: 0o755 },
    { name: "etc/", type: "directory", mode: 0o750, uid: 3, gid: 4 },
    { name: "etc/hidden", content: `hidden ${seed}` },
    { name: "etc/kept", content: "kept", mode: 0o640 },
    { name: "old/", type: "directory" },
    { name: "old/file", content: "below an opaque directory" },
    { name: "big", content: seededBytes(300_000, seed) },
    { name: "link", type: "symlink", linkname: "etc/kept" },
  ]);
  const middle = await buildTar([
    { name: "etc/.wh.hidden", content: "" },
    { name: "etc/new", content: "its parent is not in this layer", mode: 0o4755 },
    { name: "old/", type: "directory" },
    { name: "old/.wh..wh..opq", content: "" },
    { name: "hard", type: "link", linkname: "big" },
  ]);
  const top = await buildTar([
    { name: "etc/", type: "directory", mode: 0o711 },
    { name: "many/", type: "directory" },
    ...Array.from({ length: 100 }, (_, at) => ({ name: `many/${at}`, content: `${at}` })),
  ]);
  return [gzipLayer(bottom), gzipLayer(middle), gzipLayer(top)];
}

/** A layer of one directory with some files, which describes all directories that it uses. */
export async function fileLayer(
  directory: string,
  files: Readonly<Record<string, Uint8Array>>,
): Promise<BuiltLayerBlob> {
  const entries = Object.entries(files);
  const tar = await buildTar([
    { name: "./", type: "directory" },
    { name: `${directory}/`, type: "directory" },
    ...entries.map(([name, content]) => ({ name: `${directory}/${name}`, content })),
  ]);
  return gzipLayer(tar);
}

/** A layer whose blob is no archive. */
export function brokenLayer(): BuiltLayerBlob {
  const blob = seededBytes(5000, 3);
  return layerOf(blob, blob, "application/vnd.oci.image.layer.v1.tar+gzip");
}

/** The sum that sha256sum(1) prints. */
export function sumOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
