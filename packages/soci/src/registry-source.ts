import {
  formatReference,
  IMAGE_CONFIG_LIMIT_BYTES,
  type Reference,
  type RepositoryName,
} from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import { imageSource } from "./image-medium.ts";
import type { ImageTree } from "./image-tree.ts";

/** What reading an image needs of a registry client. */
export type ImageReader = Pick<RegistryClient, "fetchManifest" | "fetchBlob" | "openBlob">;

/** An image in a registry. The client stays the caller's to close. */
export function registryImageSource(client: ImageReader, reference: Reference): ImageTree {
  const repository: RepositoryName = {
    registry: reference.registry,
    repository: reference.repository,
  };
  return imageSource({
    reference: formatReference(reference),
    repository,
    readRoot: (options) => client.fetchManifest(reference, options),
    async readManifest(descriptor, options) {
      const { bytes } = await client.fetchManifest(
        { ...repository, digest: descriptor.digest },
        options,
      );
      return bytes;
    },
    readConfig: (descriptor, options) =>
      client.fetchBlob(repository, descriptor, { ...options, maxBytes: IMAGE_CONFIG_LIMIT_BYTES }),
    openBlob: (descriptor) => client.openBlob(repository, descriptor),
  });
}
