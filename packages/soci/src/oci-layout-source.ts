import { join, resolve as resolvePath } from "node:path";
import { AppError, FormatError, type IoOptions, sha256 } from "@soci-ts/core";
import {
  type Descriptor,
  encodeIndex,
  IMAGE_CONFIG_LIMIT_BYTES,
  type ImageIndex,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_OCI_INDEX,
  parseManifest,
} from "@soci-ts/oci";
import { type DocumentReader, type RootDocument, resolveImage } from "./image-source.ts";
import type { ImageTree } from "./image-tree.ts";
import { LayoutBlob, readBounded, readVerified } from "./layout-files.ts";
import { wrapped } from "./wrapped.ts";

/** On an entry of `index.json`: the image's tag (image-spec v1.1.1, annotations.md). */
export const REF_NAME = "org.opencontainers.image.ref.name";

/** Where an OCI layout lies and which of its images is meant. */
export interface OciLayoutName {
  readonly directory: string;
  /** The `org.opencontainers.image.ref.name` of an entry in `index.json`; without it the layout must hold one image. */
  readonly tag?: string;
}

/**
 * Splits `oci:DIR[:TAG]`. What follows the last colon is a tag if it can be one and holds no slash; a directory whose
 * name has a colon is written with a slash at its end. `undefined` if `text` does not start with `oci:`.
 * @throws AppError `invalid_argument` if the directory is empty.
 */
export function parseOciLayoutName(text: string): OciLayoutName | undefined {
  const match = /^oci:(.*?)(?::([A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}))?$/s.exec(text);
  if (match === null) return undefined;
  const [, directory, tag] = match;
  if (directory === undefined || directory === "") {
    throw new AppError(
      "invalid_argument",
      `Cannot parse ${JSON.stringify(text)}: the directory is empty, want oci:DIR or oci:DIR:TAG`,
    );
  }
  return tag === undefined ? { directory } : { directory, tag };
}

/**
 * An image in an OCI layout directory (image-spec v1.1.1, image-layout.md). Files are named by digests, opened only if
 * they are regular files and not links, and what is read whole is verified.
 */
export function ociLayoutImageSource(directory: string, tag?: string): ImageTree {
  const root = resolvePath(directory);
  const reference = tag === undefined ? `oci:${root}` : `oci:${root}:${tag}`;
  const reader: DocumentReader = {
    readManifest: (descriptor, options) =>
      readVerified(root, descriptor, { ...options, maxBytes: MANIFEST_LIMIT_BYTES }),
    readConfig: (descriptor, options) =>
      readVerified(root, descriptor, { ...options, maxBytes: IMAGE_CONFIG_LIMIT_BYTES }),
  };
  const name = { directory: root, ...(tag === undefined ? {} : { tag }) };
  const readWholeRoot: ImageTree["readRoot"] = async (options) => {
    const start = await readRoot(name, options);
    const bytes = start.bytes ?? (await reader.readManifest(start.descriptor, options));
    return { ...start, bytes };
  };
  return {
    ...reader,
    reference,
    readRoot: readWholeRoot,
    async resolve(platform, options) {
      const start = await readWholeRoot(options);
      return resolveImage(start, reader, { ...options, platform, reference });
    },
    openBlob: (descriptor) => new LayoutBlob(root, descriptor),
  };
}

/** The entry of `index.json` that is meant, or all of `index.json` where it lists one image for several platforms. */
async function readRoot(
  name: OciLayoutName,
  options: IoOptions | undefined,
): Promise<Omit<RootDocument, "bytes"> & { readonly bytes?: Uint8Array }> {
  await checkLayoutVersion(name.directory, options);
  const path = join(name.directory, "index.json");
  const document = parseManifest(
    await readBounded(path, { ...options, maxBytes: MANIFEST_LIMIT_BYTES }),
    MEDIA_TYPE_OCI_INDEX,
  );
  if (document.kind !== "index") throw new FormatError("index.json", 0, "want an image index");
  const { manifests } = document.index;
  const tagOf = (entry: Descriptor): string | undefined => entry.annotations?.[REF_NAME];
  const chosen =
    name.tag === undefined ? manifests : manifests.filter((m) => tagOf(m) === name.tag);
  const [first] = chosen;
  const tags = [...new Set(manifests.map(tagOf))].filter((tag) => tag !== undefined);
  if (first === undefined) {
    throw new AppError(
      "not_found",
      `Cannot find ${name.tag === undefined ? "an image" : `tag ${JSON.stringify(name.tag)}`} in ${path}: it has ${list(tags)}`,
    );
  }
  if (new Set(chosen.map((entry) => entry.digest)).size === 1) return { descriptor: first };
  if (name.tag === undefined && tags.length > 1) {
    throw new AppError(
      "invalid_argument",
      `Cannot choose an image in ${path}: it has ${list(tags)}, want oci:DIR:TAG`,
    );
  }
  return asIndexDocument({ ...document.index, manifests: chosen });
}

function asIndexDocument(index: ImageIndex): RootDocument {
  const bytes = encodeIndex(index);
  const descriptor = { mediaType: MEDIA_TYPE_OCI_INDEX, digest: sha256(bytes), size: bytes.length };
  return { descriptor, bytes };
}

function list(tags: readonly string[]): string {
  if (tags.length === 0) return "no tags";
  return `the tags ${tags
    .slice(0, 20)
    .map((tag) => JSON.stringify(tag))
    .join(", ")}`;
}

/** @throws AppError `not_found` if the directory is no OCI layout; `unimplemented` if of another version. */
export async function checkLayoutVersion(directory: string, options?: IoOptions): Promise<void> {
  const path = join(directory, "oci-layout");
  const text = Buffer.from(await readBounded(path, { ...options, maxBytes: 4096 })).toString();
  let version: unknown;
  try {
    version = (JSON.parse(text) as { imageLayoutVersion?: unknown } | null)?.imageLayoutVersion;
  } catch (error) {
    throw wrapped(`Cannot read ${path}: it is not JSON`, error, "data_loss");
  }
  if (typeof version === "string" && version.startsWith("1.")) return;
  throw new AppError(
    "unimplemented",
    `Cannot read ${path}: its version is ${JSON.stringify(version)}, want 1.0.0`,
  );
}
