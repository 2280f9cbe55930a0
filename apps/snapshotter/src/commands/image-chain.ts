import { AppError, type Digest, sha256 } from "@soci-ts/core";
import { hostPlatform, parseImageConfig, parseManifest, selectManifest } from "@soci-ts/oci";
import type { ImageRecord, RepairNamespace } from "./repair-containerd.ts";

/** An image as its snapshots see it, bottom first. */
export interface ImageChain {
  readonly manifestDigest: Digest;
  readonly configDigest: Digest;
  readonly layers: readonly { readonly layerDigest: Digest; readonly chainId: string }[];
}

/**
 * Layers and chainIDs of an image (this machine's platform) from containerd's content store.
 * @throws AppError `not_found` if manifest or config are not there, `data_loss` if they do not fit each other.
 */
export async function readImageChain(
  namespace: RepairNamespace,
  image: ImageRecord,
): Promise<ImageChain> {
  let { digest } = image;
  let parsed = parseManifest(await namespace.readBlob(digest), image.mediaType);
  if (parsed.kind === "index") {
    const entry = selectManifest(parsed.index, hostPlatform(process.arch));
    digest = entry.digest;
    parsed = parseManifest(await namespace.readBlob(digest), entry.mediaType);
  }
  if (parsed.kind === "index") {
    throw new AppError("unimplemented", `Cannot read "${image.name}": it is an index of indexes`);
  }
  const { config, layers } = parsed.manifest;
  const { diffIds } = parseImageConfig(await namespace.readBlob(config.digest));
  if (diffIds.length !== layers.length) {
    throw new AppError(
      "data_loss",
      `Cannot read "${image.name}": its config names ${diffIds.length} layers, want ${layers.length}`,
    );
  }
  const chainIds = chainIdsOf(diffIds);
  return {
    manifestDigest: digest,
    configDigest: config.digest,
    layers: layers.map((layer, at) => ({
      layerDigest: layer.digest,
      chainId: chainIds[at] ?? "",
    })),
  };
}

/** ChainIDs of a stack of layers, bottom first (image-spec v1.1.1, config.md §layer-chainid). */
export function chainIdsOf(diffIds: readonly Digest[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}
