import { AppError, type ByteSource, type Digest, FormatError, type IoOptions } from "@soci-ts/core";
import {
  type Descriptor,
  formatPlatform,
  hostPlatform,
  type Manifest,
  type Platform,
  parseImageConfig,
  parseManifest,
  selectManifest,
} from "@soci-ts/oci";
import { MAX_INDEX_DEPTH } from "./limits.ts";
import { parsed, wrapped } from "./wrapped.ts";

/** How to read a blob as a stream. */
export interface StreamOptions extends IoOptions {
  /**
   * Gives memory, at least a byte of it, which a source that reads files puts its next piece at the start of. Without it, and from other sources, each
   * piece lies in memory of its own and is the caller's to keep: garbage outside of the heap, of which tens of megabytes come together.
   */
  readonly room?: (() => Uint8Array | Promise<Uint8Array>) | undefined;
}

/** A blob of an image that can be read at an offset and as a stream. Nothing is held open between calls. */
export interface ImageBlob extends ByteSource {
  /** The bytes of [start, end), in order. Not verified: the caller knows what digest covers them. */
  stream(start: number, end: number, options?: StreamOptions): AsyncIterable<Uint8Array>;
}

/** A layer: its blob, from the manifest, and the digest of its uncompressed content, from the config. */
export interface SourceLayer {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
}

/** One blob may stand in a manifest several times; with another diffID it is another claim that has to be checked. */
export function layerKey({ descriptor, diffId }: SourceLayer): string {
  return `${descriptor.digest} ${descriptor.mediaType} ${diffId}`;
}

/** What an image's config says about its layers. */
export interface ImageLayersConfig {
  readonly platform: Platform;
  /** Digests of the uncompressed layers, bottom first. */
  readonly diffIds: readonly Digest[];
  /** The same beside the manifest's layers. */
  readonly layers: readonly SourceLayer[];
}

/** One platform's manifest of an image, verified against its digest. */
export interface ResolvedImage {
  readonly manifestDescriptor: Descriptor;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array;
  /** Reads and verifies the image config. @throws FormatError if it does not list one diffID for each layer. */
  config(options?: IoOptions): Promise<ImageLayersConfig>;
}

/**
 * Where an image is read from: a registry ({@link registryImageSource}), an OCI layout ({@link ociLayoutImageSource}), an archive
 * ({@link archiveImageSource}) or containerd ({@link containerdImageSource}).
 */
export interface ImageSource {
  /** What the user calls the image: `docker.io/library/python:3.12`, `oci:/srv/python:latest`. Good for opening it again, but for `-`. */
  readonly reference: string;
  /**
   * Finds the manifest for `platform`. With `undefined` an image that has only one manifest is taken as it is, and of a
   * multi-platform image the one for this machine.
   * @throws AppError `not_found` if there is no such image or no manifest for the platform.
   */
  resolve(platform: Platform | undefined, options?: IoOptions): Promise<ResolvedImage>;
  /**
   * The platforms there are manifests for, each once, in the order of the image's index. Those that the medium does not hold, though the
   * index names them, are left out.
   */
  platforms(options?: IoOptions): Promise<readonly Platform[]>;
  /** Opens a blob that a manifest of this image names. No I/O happens before the first read. */
  openBlob(descriptor: Descriptor): ImageBlob;
}

/** The two reads that {@link resolveImage} needs from a medium; both give verified bytes. */
export interface DocumentReader {
  readManifest(descriptor: Descriptor, options?: IoOptions): Promise<Uint8Array>;
  readConfig(descriptor: Descriptor, options?: IoOptions): Promise<Uint8Array>;
}

/** A document to start from: verified bytes and their descriptor. */
export interface RootDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/**
 * Walks from a manifest or image index down to one platform's manifest.
 * @throws AppError `not_found` if no manifest fits; `failed_precondition` if indexes are nested deeper than the limit.
 */
export async function resolveImage(
  root: RootDocument,
  reader: DocumentReader,
  options: IoOptions & { readonly platform: Platform | undefined; readonly reference: string },
): Promise<ResolvedImage> {
  const wanted = options.platform ?? hostPlatform(process.arch);
  let { descriptor, bytes } = root;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    const document = parsed(`manifest ${descriptor.digest}`, () =>
      parseManifest(bytes, descriptor.mediaType),
    );
    if (document.kind === "manifest") {
      const image = resolvedImage({ descriptor, bytes }, document.manifest, reader);
      if (depth === 0 && options.platform !== undefined) {
        await checkPlatform(image, options.platform, options);
      }
      return image;
    }
    descriptor = selectManifest(document.index, wanted);
    bytes = await reader.readManifest(descriptor, options);
  }
  throw new AppError(
    "failed_precondition",
    `Cannot resolve ${options.reference}: its image indexes are nested more than ${MAX_INDEX_DEPTH} deep`,
  );
}

function resolvedImage(
  root: RootDocument,
  manifest: Manifest,
  reader: DocumentReader,
): ResolvedImage {
  const { digest, size, mediaType } = root.descriptor;
  return {
    manifestDescriptor: { mediaType: manifest.mediaType ?? mediaType, digest, size },
    manifest,
    manifestBytes: root.bytes,
    async config(options) {
      const bytes = await reader.readConfig(manifest.config, options);
      return parsed(`image config ${manifest.config.digest}`, () => {
        const { platform, diffIds } = parseImageConfig(bytes);
        return { platform, diffIds, layers: pairLayers(manifest.layers, diffIds) };
      });
    },
  };
}

function pairLayers(
  descriptors: readonly Descriptor[],
  diffIds: readonly Digest[],
): readonly SourceLayer[] {
  const layers = descriptors.flatMap((descriptor, at) => {
    const diffId = diffIds[at];
    return diffId === undefined ? [] : [{ descriptor, diffId }];
  });
  if (layers.length === descriptors.length && layers.length === diffIds.length) return layers;
  const state = `it lists ${diffIds.length} diffIDs, want ${descriptors.length} as the manifest has layers`;
  throw new FormatError("image config", 0, state);
}

/** A single manifest does not say its platform, its config does: an explicit wish for another one must not be ignored. */
async function checkPlatform(
  image: ResolvedImage,
  wanted: Platform,
  options: IoOptions & { readonly reference: string },
): Promise<void> {
  const { platform } = await image.config(options);
  const manifests = [{ ...image.manifestDescriptor, platform }];
  try {
    selectManifest({ schemaVersion: 2, manifests }, wanted);
  } catch (cause) {
    const state = `it is an image for ${formatPlatform(platform)} only`;
    const message = `Cannot resolve ${options.reference}: ${state}, want ${formatPlatform(wanted)}`;
    throw wrapped(message, cause, "not_found");
  }
}
