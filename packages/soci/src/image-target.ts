import type { IoOptions } from "@soci-ts/core";
import {
  type Descriptor,
  formatReference,
  type Reference,
  type RepositoryName,
} from "@soci-ts/oci";
import type { BlobContent, RegistryClient } from "@soci-ts/registry-client";

/** How a blob came to where it is wanted: it was there, another repository of the registry had it, or it was sent. */
export type BlobOutcome = "existed" | "mounted" | "sent";

/** Where a blob may be had from without sending it. */
export interface PutBlobOptions extends IoOptions {
  readonly mountFrom?: RepositoryName | undefined;
}

/** Where an image is written: a registry ({@link registryImageTarget}) or an OCI layout (`ociLayoutImageTarget`). */
export interface ImageTarget {
  /** What the user calls the image there. */
  readonly reference: string;
  /** Puts a blob there unless it is there; its digest is verified on the way or at the end. */
  putBlob(
    descriptor: Descriptor,
    content: BlobContent,
    options?: PutBlobOptions,
  ): Promise<BlobOutcome>;
  /** Puts a manifest there by its digest; what it names must be there already. */
  putManifest(descriptor: Descriptor, bytes: Uint8Array, options?: IoOptions): Promise<void>;
  /** Puts the manifest or image index there and gives it the image's name: the last step, and the one that shows. */
  finish(descriptor: Descriptor, bytes: Uint8Array, options?: IoOptions): Promise<void>;
}

/** What writing an image needs of a registry client. */
export type ImageWriter = Pick<RegistryClient, "pushBlob" | "pushManifest">;

/** A tag in a registry. The client stays the caller's to close. */
export function registryImageTarget(client: ImageWriter, reference: Reference): ImageTarget {
  const { registry, repository, tag } = reference;
  const name = { registry, repository };
  return {
    reference: formatReference(reference),
    async putBlob(descriptor, content, options = {}) {
      const { mountFrom, signal } = options;
      const from = mountFrom?.registry === registry ? mountFrom.repository : undefined;
      const pushing = client.pushBlob(name, descriptor, content, { signal, mountFrom: from });
      const { outcome } = await pushing;
      return outcome === "pushed" ? "sent" : outcome;
    },
    async putManifest({ mediaType, digest }, bytes, options) {
      await client.pushManifest({ ...name, digest }, mediaType, bytes, options);
    },
    async finish({ mediaType }, bytes, options) {
      await client.pushManifest({ ...name, tag }, mediaType, bytes, options);
    },
  };
}
