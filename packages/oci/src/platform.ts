import { AppError } from "@soci-ts/core";
import { MEDIA_TYPE_DOCKER_CONFIG, MEDIA_TYPE_OCI_CONFIG } from "./media-types.ts";
import type { Descriptor, ImageIndex, Platform } from "./types.ts";

const ARCHITECTURE_ALIASES: Readonly<Record<string, string>> = {
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  i386: "386",
  i686: "386",
};

const NODE_ARCHITECTURES: Readonly<Record<string, Platform>> = {
  x64: { os: "linux", architecture: "amd64" },
  arm64: { os: "linux", architecture: "arm64" },
  arm: { os: "linux", architecture: "arm", variant: "v7" },
  ia32: { os: "linux", architecture: "386" },
  // Node runs on little-endian POWER only.
  ppc64: { os: "linux", architecture: "ppc64le" },
  mipsel: { os: "linux", architecture: "mipsle" },
};

/** The platform whose architecture Node calls `arch` (`process.arch`), on Linux. */
export function hostPlatform(arch: string): Platform {
  return NODE_ARCHITECTURES[arch] ?? { os: "linux", architecture: arch };
}

/**
 * The platform that `text` spells: `os/architecture[/variant]`, for example `linux/arm64/v8`. Usual other names of an
 * architecture (`x86_64`, `aarch64`) are understood.
 * @throws AppError `invalid_argument`.
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  const [os, architecture, variant] = parts;
  const isWord = parts.every((part) => /^[a-z0-9][a-z0-9_.-]{0,63}$/.test(part));
  if (os === undefined || architecture === undefined || parts.length > 3 || !isWord) {
    throw new AppError(
      "invalid_argument",
      `Cannot parse platform ${JSON.stringify(text.slice(0, 200))}: want os/architecture[/variant], for example linux/arm64`,
    );
  }
  return {
    os,
    architecture: ARCHITECTURE_ALIASES[architecture] ?? architecture,
    ...(variant !== undefined && { variant }),
  };
}

/** `os/architecture[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const variant = platform.variant ? `/${platform.variant}` : "";
  return `${platform.os}/${platform.architecture}${variant}`;
}

/**
 * The usual spelling of a platform: other names of an architecture, and variants that say nothing (`amd64/v1`, `arm64/v8`), are
 * replaced as containerd replaces them; an `arm` without a variant is `v7`.
 */
export function normalizePlatform(platform: Platform): Platform {
  const { variant: given, ...rest } = platform;
  const architecture = normalArchitecture({
    ...platform,
    architecture: lower(platform.architecture),
  });
  const variant = normalVariant(architecture, lower(given ?? ""));
  return { ...rest, os: lower(platform.os), architecture, ...(variant !== "" && { variant }) };
}

/** True if both mean the same platform, whatever the spelling. No other variant of the CPU is taken for it. */
export function isSamePlatform(a: Platform, b: Platform): boolean {
  const [one, other] = [normalizePlatform(a), normalizePlatform(b)];
  return formatPlatform(one) === formatPlatform(other) && one["os.version"] === other["os.version"];
}

function normalVariant(architecture: string, variant: string): string {
  const usual = { amd64: "v1", arm64: "v8" }[architecture];
  const full = /^\d/.test(variant) ? `v${variant}` : variant;
  if (full === usual) return "";
  return architecture === "arm" && full === "" ? "v7" : full;
}

function lower(text: string): string {
  return text.toLowerCase();
}

/** The variant that an absent one stands for. */
const DEFAULT_VARIANTS: Readonly<Record<string, number>> = { amd64: 1, arm: 7, arm64: 8 };

/**
 * How well content made for `offered` runs on `wanted`: 0 is exactly right, more is an older variant of the CPU,
 * undefined is not at all. An arm v7 runs v6 and v5, an amd64 v3 runs v2 and v1; an absent variant is the usual one.
 */
function variantDistance(wanted: Platform, offered: Platform): number | undefined {
  if (wanted.os !== offered.os) return undefined;
  const architecture = normalArchitecture(wanted);
  if (architecture !== normalArchitecture(offered)) return undefined;
  if ((wanted.variant ?? "") === (offered.variant ?? "")) return 0;
  const wantedLevel = variantLevel(wanted, architecture);
  const offeredLevel = variantLevel(offered, architecture);
  if (wantedLevel === undefined || offeredLevel === undefined) return undefined;
  return offeredLevel <= wantedLevel ? wantedLevel - offeredLevel : undefined;
}

function normalArchitecture(platform: Platform): string {
  return ARCHITECTURE_ALIASES[platform.architecture] ?? platform.architecture;
}

function variantLevel(platform: Platform, architecture: string): number | undefined {
  if (!platform.variant) return DEFAULT_VARIANTS[architecture];
  const digits = /^v?(\d{1,2})$/.exec(platform.variant)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * The entry of `index` that runs on `platform`: the nearest variant, the first of equals. Entries that are not images
 * (SOCI indexes, attestations) are passed over. An index whose only image names no platform gives that one.
 * @throws AppError `not_found` that lists the platforms there are.
 */
export function selectManifest(index: ImageIndex, platform: Platform): Descriptor {
  const images = index.manifests.filter(isImageEntry);
  let best: { entry: Descriptor; distance: number } | undefined;
  for (const entry of images) {
    const distance = entry.platform && variantDistance(platform, entry.platform);
    if (distance === undefined) continue;
    if (best === undefined || distance < best.distance) best = { entry, distance };
  }
  if (best !== undefined) return best.entry;
  const [only] = images;
  if (only !== undefined && images.length === 1 && only.platform === undefined) return only;
  throw new AppError(
    "not_found",
    `Cannot choose an image for ${formatPlatform(platform)}: the index has ${listPlatforms(images)}, want one that matches`,
  );
}

const CONFIG_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_DOCKER_CONFIG,
]);

/** The entries of `index` that are images, in its order: no SOCI indexes and no attestations. */
export function imageEntries(index: ImageIndex): readonly Descriptor[] {
  return index.manifests.filter(isImageEntry);
}

/** False for entries of an image index that stand beside images: SOCI indexes and other artifacts, attestations. */
export function isImageEntry(entry: Descriptor): boolean {
  if (entry.artifactType !== undefined && !CONFIG_TYPES.has(entry.artifactType)) return false;
  return entry.platform?.os !== "unknown";
}

const MOST_LISTED = 20;

function listPlatforms(entries: readonly Descriptor[]): string {
  if (entries.length === 0) return "no image";
  const names = new Set(
    entries.map(({ platform }) => (platform ? formatPlatform(platform) : "(none named)")),
  );
  const shown = [...names].slice(0, MOST_LISTED).map((name) => JSON.stringify(name).slice(1, -1));
  return `${shown.join(", ")}${names.size > MOST_LISTED ? ", …" : ""}`;
}
