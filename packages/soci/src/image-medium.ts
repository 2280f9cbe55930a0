import type { IoOptions } from "@soci-ts/core";
import {
  type Descriptor,
  formatPlatform,
  IMAGE_CONFIG_LIMIT_BYTES,
  isImageEntry,
  MANIFEST_LIMIT_BYTES,
  type Platform,
  parseImageConfig,
  parseManifest,
  type RepositoryName,
} from "@soci-ts/oci";
import { readVerified } from "./file-blob.ts";
import {
  type DocumentReader,
  type ImageBlob,
  type RootDocument,
  resolveImage,
} from "./image-source.ts";
import type { ImageTree } from "./image-tree.ts";
import { MAX_INDEX_DEPTH } from "./limits.ts";
import { parsed } from "./wrapped.ts";

/** What a medium has to do to be an image source: all else is {@link imageSource}. */
export interface ImageMedium extends DocumentReader {
  readonly reference: string;
  /** See {@link ImageTree}. */
  readonly repository?: RepositoryName;
  /** The manifest or image index that the name stands for. */
  readRoot(options?: IoOptions): Promise<RootDocument>;
  /** Whether a manifest that an index names is in the medium. Without this function all of them are taken to be. */
  hasManifest?(descriptor: Descriptor, options?: IoOptions): Promise<boolean>;
  openBlob(descriptor: Descriptor): ImageBlob;
}

/**
 * Manifests and configs that lie in a medium as its other blobs do, held against their digests.
 * @param what - for messages: `blob of containerd,`.
 */
export function verifiedDocuments(
  what: string,
  medium: Pick<ImageMedium, "openBlob">,
): DocumentReader {
  const reader =
    (maxBytes: number) =>
    (descriptor: Descriptor, options?: IoOptions): Promise<Uint8Array> =>
      readVerified(
        what,
        { blob: medium.openBlob(descriptor), descriptor },
        { ...options, maxBytes },
      );
  return {
    readManifest: reader(MANIFEST_LIMIT_BYTES),
    readConfig: reader(IMAGE_CONFIG_LIMIT_BYTES),
  };
}

/** An image in a medium. */
export function imageSource(medium: ImageMedium): ImageTree {
  const { reference, repository } = medium;
  return {
    reference,
    ...(repository !== undefined && { repository }),
    readRoot: (options) => medium.readRoot(options),
    readManifest: (descriptor, options) => medium.readManifest(descriptor, options),
    readConfig: (descriptor, options) => medium.readConfig(descriptor, options),
    openBlob: (descriptor) => medium.openBlob(descriptor),
    async resolve(platform, options) {
      const root = await medium.readRoot(options);
      return resolveImage(root, medium, { ...options, platform, reference });
    },
    async platforms(options) {
      return listPlatforms(await medium.readRoot(options), medium, options);
    },
  };
}

/**
 * The platforms of an image, each once: of a single manifest that in its config, of an index those that its entries name. Indexes
 * in the index are followed as deep as `resolveImage` follows them.
 */
async function listPlatforms(
  root: RootDocument,
  medium: ImageMedium,
  options?: IoOptions,
): Promise<readonly Platform[]> {
  const found = new Map<string, Platform>();
  await collect(root, 0);
  return [...found.values()];

  async function collect({ descriptor, bytes }: RootDocument, depth: number): Promise<void> {
    const document = parsed(`manifest ${descriptor.digest}`, () =>
      parseManifest(bytes, descriptor.mediaType),
    );
    if (document.kind === "manifest") {
      add(await configPlatform(document.manifest.config));
      return;
    }
    if (depth === MAX_INDEX_DEPTH) return;
    for (const entry of document.index.manifests.filter(isImageEntry)) {
      if (medium.hasManifest !== undefined && !(await medium.hasManifest(entry, options))) continue;
      if (entry.platform !== undefined) add(entry.platform);
      else {
        const inner = await medium.readManifest(entry, options);
        await collect({ descriptor: entry, bytes: inner }, depth + 1);
      }
    }
  }

  async function configPlatform(config: Descriptor): Promise<Platform> {
    const bytes = await medium.readConfig(config, options);
    return parsed(`image config ${config.digest}`, () => parseImageConfig(bytes)).platform;
  }

  function add(platform: Platform): void {
    const name = formatPlatform(platform);
    if (!found.has(name)) found.set(name, platform);
  }
}
