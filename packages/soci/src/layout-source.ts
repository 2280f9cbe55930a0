import {
  AppError,
  type Digest,
  digestAlgorithm,
  digestHex,
  FormatError,
  type IoOptions,
  sha256,
} from "@soci-ts/core";
import {
  type Descriptor,
  encodeIndex,
  type ImageIndex,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_OCI_INDEX,
  parseManifest,
} from "@soci-ts/oci";
import { fullName } from "./full-name.ts";
import { imageSource, verifiedDocuments } from "./image-medium.ts";
import type { ImageBlob, RootDocument } from "./image-source.ts";
import type { ImageTree } from "./image-tree.ts";
import { wrapped } from "./wrapped.ts";

/** What an image is called in a layout's index (image-spec v1.1.1, annotations.md): a tag, or what the tool that wrote it likes. */
export const REF_NAME = "org.opencontainers.image.ref.name";
/** What containerd and Docker call it, in full. */
const IMAGE_NAME = "io.containerd.image.name";
const LAYOUT_FILE_LIMIT_BYTES = 4096;

/** Where a blob lies in an OCI layout, from its root (image-spec v1.1.1, image-layout.md). */
export function layoutBlobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** The files of an OCI layout (image-spec v1.1.1, image-layout.md), wherever they lie. */
export interface LayoutFiles {
  /** For messages: `/srv/layout`. */
  readonly name: string;
  /** What to write for one of several images: `oci:DIR:TAG`. */
  readonly form: string;
  /** A whole file that is not named by a digest. */
  read(
    name: "oci-layout" | "index.json",
    options: IoOptions & { readonly maxBytes: number },
  ): Promise<Uint8Array>;
  openBlob(descriptor: Descriptor): ImageBlob;
}

/**
 * An image in an OCI layout. What is read whole is verified.
 * @param name - its `tag` is that of an entry in `index.json`, or its full name; without one the layout must hold one image.
 */
export function layoutImageSource(
  files: LayoutFiles,
  { reference, tag }: { readonly reference: string; readonly tag: string | undefined },
): ImageTree {
  const documents = verifiedDocuments(`blob of ${files.name},`, files);
  return imageSource({
    reference,
    async readRoot(options) {
      const root = await chooseRoot(files, tag, options);
      if (root.bytes !== undefined) return { ...root, bytes: root.bytes };
      return { ...root, bytes: await documents.readManifest(root.descriptor, options) };
    },
    ...documents,
    openBlob: (descriptor) => files.openBlob(descriptor),
  });
}

/** The entry of `index.json` that is meant, or all of `index.json` where it lists one image for several platforms. */
async function chooseRoot(
  files: LayoutFiles,
  tag: string | undefined,
  options: IoOptions | undefined,
): Promise<Omit<RootDocument, "bytes"> & { readonly bytes?: Uint8Array }> {
  await checkLayoutVersion(files, options);
  const path = `${files.name}/index.json`;
  const document = parseManifest(
    await files.read("index.json", { ...options, maxBytes: MANIFEST_LIMIT_BYTES }),
    MEDIA_TYPE_OCI_INDEX,
  );
  if (document.kind !== "index") throw new FormatError("index.json", 0, "want an image index");
  const { manifests } = document.index;
  const chosen = tag === undefined ? manifests : manifests.filter(isNamed(tag));
  const [first] = chosen;
  const tags = [...new Set(manifests.map(nameOf))].filter((name) => name !== undefined);
  if (first === undefined) {
    throw new AppError(
      "not_found",
      `Cannot find ${tag === undefined ? "an image" : `tag ${JSON.stringify(tag)}`} in ${path}: it has ${list(tags)}`,
    );
  }
  if (new Set(chosen.map((entry) => entry.digest)).size === 1) return { descriptor: first };
  if (tag === undefined && tags.length > 1) {
    throw new AppError(
      "invalid_argument",
      `Cannot choose an image in ${path}: it has ${list(tags)}, want ${files.form}`,
    );
  }
  return asIndexDocument({ ...document.index, manifests: chosen });
}

function nameOf(entry: Descriptor): string | undefined {
  return entry.annotations?.[IMAGE_NAME] ?? entry.annotations?.[REF_NAME];
}

function isNamed(tag: string): (entry: Descriptor) => boolean {
  const full = fullName(tag);
  return ({ annotations = {} }) => {
    const imageName = annotations[IMAGE_NAME];
    if (annotations[REF_NAME] === tag || imageName === tag) return true;
    return imageName !== undefined && imageName === full;
  };
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

/** @throws AppError `not_found` if there is no OCI layout; `unimplemented` if it is of another version. */
export async function checkLayoutVersion(files: LayoutFiles, options?: IoOptions): Promise<void> {
  const path = `${files.name}/oci-layout`;
  const bytes = await files.read("oci-layout", { ...options, maxBytes: LAYOUT_FILE_LIMIT_BYTES });
  let version: unknown;
  try {
    const document = JSON.parse(Buffer.from(bytes).toString()) as {
      imageLayoutVersion?: unknown;
    } | null;
    version = document?.imageLayoutVersion;
  } catch (error) {
    throw wrapped(`Cannot read ${path}: it is not JSON`, error, "data_loss");
  }
  if (typeof version === "string" && version.startsWith("1.")) return;
  throw new AppError(
    "unimplemented",
    `Cannot read ${path}: its version is ${JSON.stringify(version)}, want 1.0.0`,
  );
}
