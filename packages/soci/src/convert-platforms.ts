import { AppError, type Digest } from "@soci-ts/core";
import {
  type Descriptor,
  formatPlatform,
  hostPlatform,
  type ImageIndex,
  isImageEntry,
  isSamePlatform,
  type Platform,
} from "@soci-ts/oci";

/** Which platforms of an image to index: those named, all that the image has, or the usual one. */
export type WantedPlatforms = readonly Platform[] | "all" | undefined;

/** A platform, and the entry of the image index that is its image. */
export interface ChosenPlatform {
  readonly platform: Platform;
  readonly entry: Descriptor;
}

/**
 * The platforms to index, each once. Without a wish it is this machine's, or that of the only image. Only an exact match counts: a
 * SOCI index says which platform it is for, and a reader of another variant would not take it.
 * @throws AppError `not_found` that lists the platforms there are.
 */
export function choosePlatforms(index: ImageIndex, wanted: WantedPlatforms): ChosenPlatform[] {
  const images = index.manifests.filter(isImageEntry);
  const platforms = wantedPlatforms(images, wanted);
  return distinctPlatforms(platforms).map((platform) => {
    const entry = images.find(
      (image) => image.platform && isSamePlatform(image.platform, platform),
    );
    if (entry !== undefined) return { platform, entry };
    throw new AppError(
      "not_found",
      `Cannot convert the image for ${formatPlatform(platform)}: the index has ${listed(images)}, want one that matches exactly`,
    );
  });
}

function wantedPlatforms(images: readonly Descriptor[], wanted: WantedPlatforms): Platform[] {
  const named = images.flatMap(({ platform }) => (platform === undefined ? [] : [platform]));
  if (wanted === "all") return named;
  if (wanted !== undefined && wanted.length > 0) return [...wanted];
  const digests = new Set<Digest>(images.map(({ digest }) => digest));
  return digests.size === 1 && named.length > 0 ? named : [machinePlatform()];
}

/** As containerd names it: an arm64 machine is a `v8` there. It is written into the image index, so it has to be the same. */
function machinePlatform(): Platform {
  const platform = hostPlatform(process.arch);
  return platform.architecture === "arm64" ? { ...platform, variant: "v8" } : platform;
}

function distinctPlatforms(platforms: readonly Platform[]): Platform[] {
  const distinct: Platform[] = [];
  for (const platform of platforms) {
    if (!distinct.some((other) => isSamePlatform(other, platform))) distinct.push(platform);
  }
  return distinct;
}

const MOST_LISTED = 20;

function listed(images: readonly Descriptor[]): string {
  const names = images.map(({ platform }) =>
    platform ? formatPlatform(platform) : "(none named)",
  );
  return names.slice(0, MOST_LISTED).join(", ") || "no image";
}
