import { parseJson } from "./json-cursor.ts";
import { MANIFEST_LIMIT_BYTES, MAX_DESCRIPTORS } from "./limits.ts";

/** An image of an archive as `docker save` lists it in `manifest.json`; the names are of files in the archive. */
export interface DockerArchiveImage {
  /** The image config. */
  readonly config: string;
  /** References such as `app:v1`; none for an image that was saved by its id. */
  readonly repoTags: readonly string[];
  /** The layers, bottom first. */
  readonly layers: readonly string[];
}

/** Most images in one archive, and most references of one image. */
const MAX_ARCHIVE_IMAGES = 4_096;
const MAX_NAME_LENGTH = 4_096;

/**
 * The images that an archive's `manifest.json` lists (Moby image-spec v1.2 §Combined Image JSON + Filesystem Changeset Format).
 * @throws FormatError, whose message holds the JSON path of the fault.
 */
export function parseDockerArchiveManifest(bytes: Uint8Array): readonly DockerArchiveImage[] {
  const root = parseJson(bytes, "manifest.json", MANIFEST_LIMIT_BYTES);
  return root.array(MAX_ARCHIVE_IMAGES).map((image) => ({
    config: image.required("Config").string(MAX_NAME_LENGTH),
    repoTags: texts(image.optional("RepoTags")?.array(MAX_ARCHIVE_IMAGES)),
    layers: texts(image.optional("Layers")?.array(MAX_DESCRIPTORS)),
  }));
}

function texts(items: ReturnType<typeof parseJson>[] = []): readonly string[] {
  return items.map((item) => item.string(MAX_NAME_LENGTH));
}
