import { AppError } from "@soci-ts/core";
import { type JsonCursor, parseJson } from "./json-cursor.ts";
import {
  MANIFEST_LIMIT_BYTES,
  MAX_ANNOTATIONS,
  MAX_DESCRIPTORS,
  MAX_LIST_ITEMS,
  MAX_MEDIA_TYPE_LENGTH,
} from "./limits.ts";
import {
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_MANIFEST_LIST,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
} from "./media-types.ts";
import type { Annotations, Descriptor, ParsedManifest, Platform } from "./types.ts";

const KINDS: ReadonlyMap<string, ParsedManifest["kind"]> = new Map([
  [MEDIA_TYPE_OCI_MANIFEST, "manifest"],
  [MEDIA_TYPE_DOCKER_MANIFEST, "manifest"],
  [MEDIA_TYPE_OCI_INDEX, "index"],
  [MEDIA_TYPE_DOCKER_MANIFEST_LIST, "index"],
]);

/**
 * The manifest or index in `bytes`.
 * @param mediaType - what the registry or the descriptor says it is; checked against the document. Without it the
 *   document's own `mediaType` decides, or else its shape.
 * @throws FormatError, whose message holds the JSON path of the fault.
 * @throws AppError `unimplemented` for Docker's schema 1.
 */
export function parseManifest(bytes: Uint8Array, mediaType?: string): ParsedManifest {
  const root = parseJson(bytes, "manifest", MANIFEST_LIMIT_BYTES);
  refuseSchema1(root, mediaType);
  const schemaVersion = root.required("schemaVersion").size();
  if (schemaVersion !== 2) root.fail(`has schemaVersion ${schemaVersion}, want 2`);
  const own = optionalMediaType(root.optional("mediaType"));
  if (own !== undefined && mediaType !== undefined && own !== mediaType) {
    root.fail(`says it is ${JSON.stringify(own)}, want ${JSON.stringify(mediaType)} as announced`);
  }
  const { kind, type } = kindOf(root, own ?? mediaType);
  const common = {
    schemaVersion: 2,
    ...(own !== undefined && { mediaType: own }),
    ...optionalArtifactType(root),
  } as const;
  if (kind === "index") {
    const manifests = descriptors(root, "manifests");
    return { kind, index: { ...common, manifests, ...links(root) }, mediaType: type };
  }
  const config = descriptor(root.required("config"));
  const layers = descriptors(root, "layers");
  return { kind, manifest: { ...common, config, layers, ...links(root) }, mediaType: type };
}

function refuseSchema1(root: JsonCursor, mediaType: string | undefined): void {
  const announced = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/.test(mediaType ?? "");
  if (!announced && root.object()["schemaVersion"] !== 1) return;
  throw new AppError(
    "unimplemented",
    "Cannot read manifest: it is of Docker's schema 1, want schema 2 or OCI; push the image again with a current tool",
  );
}

/** A document that could be read as both kinds is refused: two readers would see two images (CVE-2021-41190). */
function kindOf(
  root: JsonCursor,
  mediaType: string | undefined,
): { kind: ParsedManifest["kind"]; type: string } {
  const fields = root.object();
  const looksLikeIndex = "manifests" in fields;
  const looksLikeManifest = "layers" in fields || "config" in fields || "fsLayers" in fields;
  if (looksLikeIndex && looksLikeManifest) {
    return root.fail('has both "manifests" and "config" or "layers", want one kind');
  }
  if (mediaType === undefined) {
    return looksLikeIndex
      ? { kind: "index", type: MEDIA_TYPE_OCI_INDEX }
      : { kind: "manifest", type: MEDIA_TYPE_OCI_MANIFEST };
  }
  const kind = KINDS.get(mediaType);
  if (kind === undefined) {
    return root.fail(`is of type ${JSON.stringify(mediaType)}, want an image manifest or index`);
  }
  return { kind, type: mediaType };
}

function optionalArtifactType(object: JsonCursor): { artifactType?: string } {
  const artifactType = optionalMediaType(object.optional("artifactType"));
  return artifactType === undefined ? {} : { artifactType };
}

function links(root: JsonCursor): { subject?: Descriptor; annotations?: Annotations } {
  const subject = root.optional("subject");
  return {
    ...(subject !== undefined && { subject: descriptor(subject) }),
    ...optionalAnnotations(root),
  };
}

/** An array of descriptors; null, which Go writes for a list that was never filled, is an empty one. */
function descriptors(root: JsonCursor, key: string): Descriptor[] {
  if (root.object()[key] === null) return [];
  return root.required(key).array(MAX_DESCRIPTORS).map(descriptor);
}

function descriptor(cursor: JsonCursor): Descriptor {
  const data = cursor.optional("data");
  const urls = cursor.optional("urls");
  const platformCursor = cursor.optional("platform");
  return {
    mediaType: requiredMediaType(cursor.required("mediaType")),
    digest: cursor.required("digest").digest(),
    size: cursor.required("size").size(),
    ...(urls !== undefined && { urls: stringList(urls) }),
    ...optionalAnnotations(cursor),
    ...(data !== undefined && { data: base64(data) }),
    ...(platformCursor !== undefined && { platform: parsePlatformObject(platformCursor) }),
    ...optionalArtifactType(cursor),
  };
}

/** A platform as it stands in a descriptor, and beside other things in an image configuration. */
export function parsePlatformObject(cursor: JsonCursor): Platform {
  const version = cursor.optional("os.version");
  const features = cursor.optional("os.features");
  const variant = cursor.optional("variant");
  return {
    architecture: cursor.required("architecture").string(MAX_MEDIA_TYPE_LENGTH),
    os: cursor.required("os").string(MAX_MEDIA_TYPE_LENGTH),
    ...(version !== undefined && { "os.version": version.string(MAX_MEDIA_TYPE_LENGTH) }),
    ...(features !== undefined && { "os.features": stringList(features) }),
    ...(variant !== undefined && { variant: variant.string(MAX_MEDIA_TYPE_LENGTH) }),
  };
}

function optionalAnnotations(cursor: JsonCursor): { annotations?: Annotations } {
  const annotations = cursor.optional("annotations");
  return annotations === undefined
    ? {}
    : { annotations: annotations.stringRecord(MAX_ANNOTATIONS) };
}

function stringList(cursor: JsonCursor): string[] {
  return cursor.array(MAX_LIST_ITEMS).map((item) => item.string());
}

function requiredMediaType(cursor: JsonCursor): string {
  return optionalMediaType(cursor) ?? cursor.fail("is empty, want a media type");
}

/** A media type; Go writes none and the empty one alike. */
function optionalMediaType(cursor: JsonCursor | undefined): string | undefined {
  const text = cursor?.string(MAX_MEDIA_TYPE_LENGTH);
  return text === "" ? undefined : text;
}

function base64(cursor: JsonCursor): string {
  const text = cursor.string();
  const canonical = Buffer.from(text, "base64").toString("base64");
  return canonical === text ? text : cursor.fail("is not base64, want padded base64");
}
