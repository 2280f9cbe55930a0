import { AppError, FormatError, type IoOptions } from "@soci-ts/core";
import { decodeZtoc, type LayerIndex } from "@soci-ts/layer-index/ztoc";
import { type Descriptor, layerCompression, type RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { Store } from "@soci-ts/store";
import { MAX_ZTOC_BYTES, tooLargeReason } from "./limits.ts";
import type { ZtocEntry } from "./soci-index.ts";

/** Which ztoc's bytes, and where they may be. */
export interface ReadZtocOptions extends IoOptions {
  readonly client: Pick<RegistryClient, "fetchBlob">;
  readonly repository: RepositoryName;
  /** The entry of a verified index. */
  readonly ztoc: ZtocEntry;
  /** Looked into first, if given. */
  readonly store?: Store | undefined;
}

/** Which ztoc, and where it may be. */
export interface FetchZtocOptions extends ReadZtocOptions {
  /** The image layer that it is to be of, from the verified manifest. */
  readonly layer: Descriptor;
}

/**
 * Reads a ztoc, checks it against the digest in the index, decodes it within limits, and checks that it is of the layer.
 * @throws AppError `not_found`, `resource_exhausted` for one over {@link MAX_ZTOC_BYTES}; DigestMismatchError; FormatError if the ztoc is broken or of another blob.
 */
export async function fetchZtoc(options: FetchZtocOptions): Promise<LayerIndex> {
  return (await fetchZtocBytes(options)).index;
}

/** Like {@link fetchZtoc}, with the bytes, for those who keep them. */
export async function fetchZtocBytes(
  options: FetchZtocOptions,
): Promise<{ readonly bytes: Uint8Array; readonly index: LayerIndex }> {
  const { digest, size } = options.ztoc.descriptor;
  if (size > MAX_ZTOC_BYTES) {
    const state = `Cannot use ztoc ${digest} of layer ${options.layer.digest}: ${tooLargeReason(size)}`;
    throw new AppError("resource_exhausted", state);
  }
  const bytes = await readZtocBytes(options);
  const index = decodeZtoc(bytes);
  requireOfLayer(index, options.ztoc, options.layer);
  return { bytes, index };
}

/** Checks that a ztoc is of a layer. @throws FormatError if it is of another blob. */
export function requireOfLayer(
  index: Pick<LayerIndex, "compressedSizeBytes" | "compression">,
  ztoc: ZtocEntry,
  layer: Descriptor,
): void {
  const { digest } = ztoc.descriptor;
  if (ztoc.layerDigest !== layer.digest) {
    throw mismatch(digest, `it is of layer ${ztoc.layerDigest}, want ${layer.digest}`);
  }
  if (index.compressedSizeBytes !== layer.size) {
    throw mismatch(
      digest,
      `it is of a blob of ${index.compressedSizeBytes} bytes, want ${layer.size} as layer ${layer.digest} has`,
    );
  }
  const compression = layerCompression(layer.mediaType);
  if (index.compression !== compression) {
    throw mismatch(
      digest,
      `it is of a blob with compression ${index.compression}, want ${compression} as layer ${layer.digest} has`,
    );
  }
}

/** A ztoc as it is stored, checked against the digest in the index. @throws AppError `not_found`; DigestMismatchError. */
export async function readZtocBytes(options: ReadZtocOptions): Promise<Uint8Array> {
  const { client, repository, ztoc, store, signal } = options;
  const { digest } = ztoc.descriptor;
  const maxBytes = MAX_ZTOC_BYTES;
  if (store !== undefined && (await store.hasBlob(digest))) {
    try {
      return await store.readBlob(digest, { maxBytes });
    } catch (error) {
      // A damaged file is as good as none: the registry has the bytes too.
      if (AppError.from(error).code !== "data_loss") throw error;
    }
  }
  return client.fetchBlob(repository, ztoc.descriptor, { maxBytes, signal });
}

function mismatch(digest: string, message: string): FormatError {
  return new FormatError(`ztoc ${digest}`, 0, message);
}
