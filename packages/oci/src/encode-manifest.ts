import { type GoJson, goJson } from "./go-json.ts";
import type { Annotations, Descriptor, ImageIndex, Manifest, Platform } from "./types.ts";

/** The bytes of a manifest, exactly as Go's struct of image-spec v1.1 is marshalled. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  return goJson({
    schemaVersion: manifest.schemaVersion,
    mediaType: filled(manifest.mediaType),
    artifactType: filled(manifest.artifactType),
    config: descriptorFields(manifest.config),
    layers: manifest.layers.map(descriptorFields),
    subject: manifest.subject && descriptorFields(manifest.subject),
    annotations: annotationFields(manifest.annotations),
  });
}

/** The bytes of an image index, exactly as Go's struct of image-spec v1.1 is marshalled. */
export function encodeIndex(index: ImageIndex): Uint8Array {
  return goJson({
    schemaVersion: index.schemaVersion,
    mediaType: filled(index.mediaType),
    artifactType: filled(index.artifactType),
    manifests: index.manifests.map(descriptorFields),
    subject: index.subject && descriptorFields(index.subject),
    annotations: annotationFields(index.annotations),
  });
}

function descriptorFields(descriptor: Descriptor): GoJson {
  return {
    mediaType: descriptor.mediaType,
    digest: descriptor.digest,
    size: descriptor.size,
    urls: filledList(descriptor.urls),
    annotations: annotationFields(descriptor.annotations),
    data: filled(descriptor.data),
    platform: descriptor.platform && platformFields(descriptor.platform),
    artifactType: filled(descriptor.artifactType),
  };
}

function platformFields(platform: Platform): GoJson {
  return {
    architecture: platform.architecture,
    os: platform.os,
    "os.version": filled(platform["os.version"]),
    "os.features": filledList(platform["os.features"]),
    variant: filled(platform.variant),
  };
}

function annotationFields(annotations: Annotations | undefined): GoJson | undefined {
  const entries = Object.entries(annotations ?? {});
  return entries.length === 0 ? undefined : new Map(entries);
}

/** Go's `omitempty`. */
function filled(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

function filledList(list: readonly string[] | undefined): readonly string[] | undefined {
  return list?.length === 0 ? undefined : list;
}
