import { AppError, type Digest } from "@soci-ts/core";
import {
  type Annotations,
  type Descriptor,
  type ParsedManifest,
  parseManifest,
} from "@soci-ts/oci";
import { SpecError } from "./spec-error.ts";

/** What the registry has to know of a manifest. */
export interface ManifestFacts {
  readonly mediaType: string;
  /** Blobs that must be in the repository. */
  readonly blobs: readonly Digest[];
  /** Entries of an index: manifests (or blobs) that must be in the repository. */
  readonly manifests: readonly Digest[];
  /** How many layers are of types that are not kept here. */
  readonly foreignLayers: number;
  readonly subject?: Digest | undefined;
  readonly artifactType?: string | undefined;
  readonly annotations?: Annotations | undefined;
}

/** Layers with these words in their type are fetched from elsewhere and need not be here (image-spec v1.1.1, layer.md §Non-Distributable Layers). */
const FOREIGN_LAYER = /\.nondistributable\.|\.foreign\./;

/**
 * Reads a manifest that a client wants to store.
 * @param contentType - the request's `Content-Type`; parameters are ignored.
 * @throws SpecError `MANIFEST_INVALID`.
 */
export function readManifestFacts(
  bytes: Uint8Array,
  contentType: string | undefined,
): ManifestFacts {
  const announced = contentType?.split(";", 1)[0]?.trim();
  const parsed = parse(bytes, announced === "" ? undefined : announced);
  const document = parsed.kind === "manifest" ? parsed.manifest : parsed.index;
  return {
    mediaType: parsed.mediaType,
    ...references(parsed),
    subject: document.subject?.digest,
    artifactType: artifactTypeOf(parsed),
    annotations: document.annotations,
  };
}

function parse(bytes: Uint8Array, mediaType: string | undefined): ParsedManifest {
  try {
    return parseManifest(bytes, mediaType);
  } catch (error) {
    throw refusal(AppError.from(error));
  }
}

function refusal(cause: AppError): AppError {
  if (cause.code === "internal") return cause;
  return new SpecError("MANIFEST_INVALID", cause.message, { cause });
}

function references(
  parsed: ParsedManifest,
): Pick<ManifestFacts, "blobs" | "manifests" | "foreignLayers"> {
  if (parsed.kind === "index") {
    return { blobs: [], manifests: parsed.index.manifests.map(digestOf), foreignLayers: 0 };
  }
  const { config, layers } = parsed.manifest;
  const stored = layers.filter((layer) => !FOREIGN_LAYER.test(layer.mediaType));
  return {
    blobs: [config, ...stored].map(digestOf),
    manifests: [],
    foreignLayers: layers.length - stored.length,
  };
}

/** An image manifest without one counts as of its config's type; an index does not (distribution-spec v1.1.1 §Listing Referrers). */
function artifactTypeOf(parsed: ParsedManifest): string | undefined {
  if (parsed.kind === "index") return parsed.index.artifactType;
  return parsed.manifest.artifactType ?? parsed.manifest.config.mediaType;
}

function digestOf(descriptor: Descriptor): Digest {
  return descriptor.digest;
}
