import {
  AppError,
  type Digest,
  Digester,
  FormatError,
  type IoOptions,
  sha256,
} from "@soci-ts/core";
import {
  type Descriptor,
  type DockerArchiveImage,
  encodeManifest,
  IMAGE_CONFIG_LIMIT_BYTES,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_DOCKER_CONFIG,
  MEDIA_TYPE_DOCKER_LAYER,
  MEDIA_TYPE_DOCKER_LAYER_GZIP,
  MEDIA_TYPE_DOCKER_LAYER_ZSTD,
  MEDIA_TYPE_DOCKER_MANIFEST,
  parseDockerArchiveManifest,
  parseImageConfig,
} from "@soci-ts/oci";
import type { ArchiveEntry } from "./archive-entries.ts";
import type { OpenedArchiveFiles } from "./archive-files.ts";
import { STREAM_BYTES } from "./file-blob.ts";
import { fullName } from "./full-name.ts";
import type { RootDocument } from "./image-source.ts";
import { parsed } from "./wrapped.ts";

/** An image of a `docker save` archive of the old form, with the manifest that the archive does not have. */
export interface DockerArchive {
  readonly root: RootDocument;
  /** Config and layers. */
  readonly blobs: ReadonlyMap<Digest, ArchiveEntry>;
}

const MANIFEST = "manifest.json";

/**
 * Reads an image of the old form: `manifest.json`, a config, and a tar for each layer, which may be a link to another's.
 *
 * The archive has no image manifest, so there is no digest under which a registry has the image. The manifest that stands for it here is
 * the one that containerd writes when it imports the archive, byte for byte: the index is that of the imported image. Layers that are
 * not compressed are named by the config's diffIDs, and held against them when they are read; compressed ones are read and hashed here.
 * @throws AppError `not_found` if there is no image of that name; `invalid_argument` if none was given and there are several.
 */
export async function readDockerArchive(
  files: OpenedArchiveFiles,
  reference: string | undefined,
  options?: IoOptions,
): Promise<DockerArchive> {
  const list = await files.readWhole(MANIFEST, { ...options, maxBytes: MANIFEST_LIMIT_BYTES });
  const images = parsed(`${MANIFEST} of ${files.name}`, () => parseDockerArchiveManifest(list));
  const image = chooseImage(images, reference, files.name);
  const configEntry = files.entries.follow(image.config);
  const configBytes = await files.readWhole(image.config, {
    ...options,
    maxBytes: IMAGE_CONFIG_LIMIT_BYTES,
  });
  const { diffIds } = parsed(`image config ${image.config}`, () => parseImageConfig(configBytes));
  if (diffIds.length !== image.layers.length) {
    const state = `it lists ${diffIds.length} diffIDs, want ${image.layers.length} as ${MANIFEST} has layers`;
    throw new FormatError("image config", 0, state);
  }
  const config = {
    mediaType: MEDIA_TYPE_DOCKER_CONFIG,
    digest: sha256(configBytes),
    size: configBytes.length,
  };
  const blobs = new Map([[config.digest, configEntry]]);
  const layers: Descriptor[] = [];
  for (const [at, diffId] of diffIds.entries()) {
    const entry = files.entries.follow(image.layers[at] ?? "");
    const layer = await describeLayer(files, entry, { ...options, diffId });
    blobs.set(layer.digest, entry);
    layers.push(layer);
  }
  const mediaType = MEDIA_TYPE_DOCKER_MANIFEST;
  const bytes = encodeManifest({ schemaVersion: 2, mediaType, config, layers });
  return {
    root: { descriptor: { mediaType, digest: sha256(bytes), size: bytes.length }, bytes },
    blobs,
  };
}

function chooseImage(
  images: readonly DockerArchiveImage[],
  reference: string | undefined,
  archive: string,
): DockerArchiveImage {
  const [first, ...others] = images;
  const names = images.flatMap(({ repoTags }) => repoTags);
  const shown = names.length === 0 ? "no names" : `the names ${list(names)}`;
  if (reference === undefined) {
    if (first !== undefined && others.length === 0) return first;
    const state = `it has ${images.length} images and ${shown}, want docker-archive:FILE:REF`;
    throw new AppError("invalid_argument", `Cannot choose an image in ${archive}: ${state}`);
  }
  const wanted = fullName(reference);
  const found = images.find(({ repoTags }) =>
    repoTags.some(
      (name) => name === reference || (wanted !== undefined && fullName(name) === wanted),
    ),
  );
  if (found !== undefined) return found;
  const state = `it has ${shown}`;
  throw new AppError(
    "not_found",
    `Cannot find ${JSON.stringify(reference)} in ${archive}: ${state}`,
  );
}

function list(names: readonly string[]): string {
  return names
    .slice(0, 20)
    .map((name) => JSON.stringify(name))
    .join(", ");
}

const LAYER_TYPES: readonly { readonly magic: readonly number[]; readonly mediaType: string }[] = [
  { magic: [0x1f, 0x8b], mediaType: MEDIA_TYPE_DOCKER_LAYER_GZIP },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], mediaType: MEDIA_TYPE_DOCKER_LAYER_ZSTD },
];
const MAGIC_BYTES = 4;

async function describeLayer(
  files: OpenedArchiveFiles,
  entry: ArchiveEntry,
  options: IoOptions & { readonly diffId: Digest },
): Promise<Descriptor> {
  const { sizeBytes: size } = entry;
  const blob = files.blobAt(entry);
  const head = await blob.readAt(0, Math.min(MAGIC_BYTES, size), options);
  const type = LAYER_TYPES.find(({ magic }) => magic.every((byte, at) => head[at] === byte));
  if (type === undefined) {
    return { mediaType: MEDIA_TYPE_DOCKER_LAYER, digest: options.diffId, size };
  }
  const digester = new Digester("sha256");
  const memory = new Uint8Array(STREAM_BYTES);
  const pieces = blob.stream(0, size, { ...options, room: () => memory });
  for await (const bytes of pieces) digester.update(bytes);
  return { mediaType: type.mediaType, digest: digester.digest(), size };
}
