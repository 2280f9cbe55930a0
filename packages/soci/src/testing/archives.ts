import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BuiltImage, buildTar, command, type TarItem } from "@soci-ts/testkit";

/** A layer of an archive in Docker's old form: a tar, or a link to another layer's. */
export interface SavedLayer {
  readonly id: string;
  readonly tar?: Uint8Array;
  /** The blob in the archive, if it is not the tar itself. */
  readonly blob?: Uint8Array;
  readonly link?: { readonly type: "symlink" | "link"; readonly to: string };
}

/** Hex sha256 of bytes. */
export function hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Items of an archive as `docker save` wrote it before version 25. `layers` are bottom first; a link's tar says what it leads to. */
export function savedItems(
  layers: readonly SavedLayer[],
  repoTags: readonly string[] = ["app:v1"],
): TarItem[] {
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map(({ tar }) => `sha256:${hex(tar!)}`) },
    }),
  );
  const manifest = [
    {
      Config: `${hex(config)}.json`,
      RepoTags: repoTags,
      Layers: layers.map(({ id }) => `${id}/layer.tar`),
    },
  ];
  return [
    ...layers.flatMap(layerItems),
    { name: `${hex(config)}.json`, content: config },
    { name: "manifest.json", content: JSON.stringify(manifest) },
    { name: "repositories", content: JSON.stringify({ app: { v1: layers.at(-1)?.id } }) },
  ];
}

function layerItems({ id, tar, blob, link }: SavedLayer): TarItem[] {
  const name = `${id}/layer.tar`;
  return [
    { name: `${id}/`, type: "directory" },
    { name: `${id}/VERSION`, content: "1.0" },
    { name: `${id}/json`, content: "{}" },
    link === undefined
      ? { name, content: blob ?? tar! }
      : { name, type: link.type, linkname: link.to },
  ];
}

/** Writes a tar of these items. */
export async function writeTar(path: string, items: readonly TarItem[]): Promise<string> {
  await writeFile(path, await buildTar(items));
  return path;
}

/** Items of the tar of a layout, with `prefix` before each name. */
export async function layoutItems(image: BuiltImage, prefix = ""): Promise<TarItem[]> {
  const names = ["oci-layout", "index.json"];
  const blobs = await readdir(join(image.directory, "blobs/sha256"));
  names.push(...blobs.map((blob) => `blobs/sha256/${blob}`));
  return Promise.all(
    names.map(async (name) => ({
      name: `${prefix}${name}`,
      content: await readFile(join(image.directory, name)),
    })),
  );
}

/** Copies a layout's image into another form with skopeo. */
export async function skopeoCopy(image: BuiltImage, destination: string): Promise<void> {
  const source = `oci:${image.directory}:latest`;
  await command("skopeo", ["--insecure-policy", "copy", "-q", source, destination]);
}
