import {
  type Descriptor,
  formatReference,
  IMAGE_CONFIG_LIMIT_BYTES,
  type Reference,
  type RepositoryName,
} from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import { type DocumentReader, resolveImage } from "./image-source.ts";
import type { ImageTree } from "./image-tree.ts";

/** What reading an image needs of a registry client. */
export type ImageReader = Pick<RegistryClient, "fetchManifest" | "fetchBlob" | "openBlob">;

/** An image in a registry. The client stays the caller's to close. */
export function registryImageSource(client: ImageReader, reference: Reference): ImageTree {
  const repository: RepositoryName = {
    registry: reference.registry,
    repository: reference.repository,
  };
  const reader: DocumentReader = {
    async readManifest(descriptor, options) {
      const { bytes } = await client.fetchManifest(
        { ...repository, digest: descriptor.digest },
        options,
      );
      return bytes;
    },
    async readConfig(descriptor, options) {
      return client.fetchBlob(repository, descriptor, {
        ...options,
        maxBytes: IMAGE_CONFIG_LIMIT_BYTES,
      });
    },
  };
  const name = formatReference(reference);
  const readRoot: ImageTree["readRoot"] = (options) => client.fetchManifest(reference, options);
  return {
    ...reader,
    reference: name,
    repository,
    readRoot,
    async resolve(platform, options) {
      const root = await readRoot(options);
      return resolveImage(root, reader, { ...options, platform, reference: name });
    },
    openBlob: (descriptor: Descriptor) => client.openBlob(repository, descriptor),
  };
}
