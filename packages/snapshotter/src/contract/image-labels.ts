import { type Digest, isDigest } from "@soci-ts/core";
import type { Labels } from "./types.ts";

/** The chainID that a Prepare wants to be there as a committed snapshot. */
export const REF_LABEL = "containerd.io/snapshot.ref";

/** Marks a snapshot whose content is not in containerd's own store. */
export const REMOTE_LABEL = "containerd.io/snapshot/remote";

const IMAGE_LABEL = "containerd.io/snapshot/cri.image-ref";
const LAYER_LABEL = "containerd.io/snapshot/cri.layer-digest";
const MANIFEST_LABEL = "containerd.io/snapshot/cri.manifest-digest";

/** Which layer of which image a Prepare is for. */
export interface ImageLayerLabels {
  readonly imageReference: string;
  readonly manifestDigest: Digest;
  readonly layerDigest: Digest;
  readonly chainId: string;
}

/** The image layer that labels name; `undefined` if they name none: one is missing, or is not what it should be. */
export function imageLayerOf(labels: Labels): ImageLayerLabels | undefined {
  const imageReference = labels[IMAGE_LABEL];
  const layerDigest = labels[LAYER_LABEL];
  const manifestDigest = labels[MANIFEST_LABEL];
  const chainId = labels[REF_LABEL];
  if (!imageReference || !chainId || !isDigestText(layerDigest) || !isDigestText(manifestDigest)) {
    return undefined;
  }
  return { imageReference, layerDigest, manifestDigest, chainId };
}

function isDigestText(text: string | undefined): text is Digest {
  return text !== undefined && isDigest(text);
}
