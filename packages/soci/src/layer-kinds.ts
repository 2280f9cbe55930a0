import { AppError } from "@soci-ts/core";
import { type Descriptor, isEncryptedLayer, isForeignLayer, layerCompression } from "@soci-ts/oci";

/**
 * Why a layer of this kind gets no ztoc; undefined if it can have one. Layers of eStargz and zstd:chunked are ordinary gzip and zstd layers
 * in this: their own tables of contents are not used.
 */
export function kindSkipReason({ mediaType, urls = [] }: Descriptor): string | undefined {
  const type = `media type ${JSON.stringify(mediaType)}`;
  if (isForeignLayer(mediaType)) {
    const where = urls.length === 0 ? "names no URL" : `names ${urls.length} other place(s)`;
    return `${type} is of a layer that registries do not distribute; its descriptor ${where}`;
  }
  const compression = layerCompression(mediaType);
  if (compression === undefined) return `${type} is of no known kind of layer`;
  if (compression === "zstd") return `${type} can't be read at an offset`;
  return undefined;
}

/**
 * Refuses an image with an encrypted layer before anything of it is read: what an index of the ciphertext says holds for no file, and spans and
 * digests of the plain text would tell what the encryption hides.
 * @throws AppError `unimplemented` that names the layer.
 */
export function refuseEncrypted(layers: readonly Descriptor[], reference: string): void {
  const encrypted = layers.find(({ mediaType }) => isEncryptedLayer(mediaType));
  if (encrypted === undefined) return;
  const { digest, mediaType } = encrypted;
  throw new AppError(
    "unimplemented",
    `Cannot create an index of ${reference}: layer ${digest} is encrypted (media type ${JSON.stringify(mediaType)}), want the decrypted image`,
  );
}
