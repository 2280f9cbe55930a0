import type { Digest } from "@soci-ts/core";
import { parseJson } from "./json-cursor.ts";
import { IMAGE_CONFIG_LIMIT_BYTES, MAX_DESCRIPTORS } from "./limits.ts";
import { parsePlatformObject } from "./parse-manifest.ts";
import type { Platform } from "./types.ts";

/** The parts of an image configuration that mounting an image needs (image-spec v1.1.1, config.md). */
export interface ImageConfig {
  readonly platform: Platform;
  /** Digests of the uncompressed layers, bottom first. */
  readonly diffIds: readonly Digest[];
  /** The whole document, unchecked. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * The image configuration in `bytes`.
 * @throws FormatError, whose message holds the JSON path of the fault.
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const root = parseJson(bytes, "image config", IMAGE_CONFIG_LIMIT_BYTES);
  const rootfs = root.required("rootfs");
  const type = rootfs.required("type");
  if (type.string() !== "layers") type.fail('is another kind, want "layers"');
  const isEmpty = rootfs.object()["diff_ids"] === null;
  const diffIds = isEmpty ? [] : rootfs.required("diff_ids").array(MAX_DESCRIPTORS);
  return {
    platform: parsePlatformObject(root),
    diffIds: diffIds.map((item) => item.digest()),
    raw: root.object(),
  };
}
