import { randomBytes } from "node:crypto";
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve as resolvePath } from "node:path";
import {
  AppError,
  Digester,
  DigestMismatchError,
  digestAlgorithm,
  type IoOptions,
} from "@soci-ts/core";
import {
  type Descriptor,
  encodeIndex,
  type ImageIndex,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_OCI_INDEX,
  parseManifest,
} from "@soci-ts/oci";
import type { BlobContent } from "@soci-ts/registry-client";
import type { ImageTarget } from "./image-target.ts";
import { readBounded } from "./layout-files.ts";
import { checkLayoutVersion, layoutBlobPath, REF_NAME } from "./layout-source.ts";
import { layoutDirectory } from "./oci-layout-source.ts";
import { wrapped } from "./wrapped.ts";

const LAYOUT_FILE = '{"imageLayoutVersion":"1.0.0"}';

/**
 * An image of an OCI layout directory, which is made if it does not exist (image-spec v1.1.1, image-layout.md). Each file is written
 * beside its place, flushed, and renamed, blobs after their digest was checked. Other images of the layout stay; the one with the same tag,
 * or the one without a tag, is replaced in `index.json`, and its blobs stay. Two writers of one layout at once may lose one's entry.
 * @throws AppError `failed_precondition` if the directory is something else.
 */
export async function ociLayoutImageTarget(directory: string, tag?: string): Promise<ImageTarget> {
  const root = resolvePath(directory);
  await checkDirectory(root);
  let prepared: Promise<void> | undefined;
  const putBlob: ImageTarget["putBlob"] = async (descriptor, content, options) => {
    prepared ??= prepare(root);
    await prepared;
    const path = join(root, layoutBlobPath(descriptor.digest));
    await mkdir(dirname(path), { recursive: true });
    if (await isThere(path, descriptor.size)) return "existed";
    await replaceFile(path, async (file) => writeVerified(file, descriptor, content, options));
    return "sent";
  };
  return {
    reference: tag === undefined ? `oci:${root}` : `oci:${root}:${tag}`,
    putBlob,
    async putManifest(descriptor, bytes, options) {
      await putBlob(descriptor, bytes, options);
    },
    async finish(descriptor, bytes, options) {
      await putBlob(descriptor, bytes, options);
      const index = encodeIndex(await withImage(root, descriptor, tag));
      await replaceFile(join(root, "index.json"), async (file) => file.writeFile(index));
    },
  };
}

/** Before hours of work, not after; nothing is made before there is something to keep. */
async function checkDirectory(root: string): Promise<void> {
  const names = await namesIn(root);
  if (names.includes("oci-layout")) {
    await checkLayoutVersion(layoutDirectory(root));
    // A link would lead out of the layout, to wherever someone else wants our files.
    if (!names.includes("blobs") || (await lstat(join(root, "blobs"))).isDirectory()) return;
    throw new AppError("failed_precondition", `Cannot write to ${root}/blobs: it is no folder`);
  }
  if (names.length === 0) return;
  throw new AppError(
    "failed_precondition",
    `Cannot write an image to ${root}: it is neither empty nor an OCI layout`,
  );
}

async function namesIn(root: string): Promise<string[]> {
  try {
    return await readdir(root);
  } catch (error) {
    if (AppError.from(error).code === "not_found") return [];
    throw wrapped(`Cannot write an image to ${root}`, error);
  }
}

async function prepare(root: string): Promise<void> {
  await mkdir(join(root, "blobs"), { recursive: true });
  const path = join(root, "oci-layout");
  if (await isThere(path, LAYOUT_FILE.length)) return;
  await replaceFile(path, async (file) => file.writeFile(LAYOUT_FILE));
}

/** Content is not read again: as elsewhere, a file with the right name and size is taken for what it should be. */
async function isThere(path: string, sizeBytes: number): Promise<boolean> {
  try {
    const stat = await lstat(path);
    return stat.isFile() && stat.size === sizeBytes;
  } catch (error) {
    if (AppError.from(error).code === "not_found") return false;
    throw error;
  }
}

async function writeVerified(
  file: FileHandle,
  { digest, size }: Descriptor,
  content: BlobContent,
  options?: IoOptions,
): Promise<void> {
  const digester = new Digester(digestAlgorithm(digest));
  let written = 0;
  for await (const piece of content instanceof Uint8Array ? [content] : content()) {
    options?.signal?.throwIfAborted();
    written += piece.length;
    if (written > size) break;
    digester.update(piece);
    await file.writeFile(piece);
  }
  const actual = digester.digest();
  if (written !== size) {
    const state = `it has ${written} bytes${written > size ? " or more" : ""}, want ${size}`;
    throw new AppError("data_loss", `Cannot write blob ${digest}: ${state}`);
  }
  if (actual !== digest) throw new DigestMismatchError(`blob ${digest}`, digest, actual);
}

async function replaceFile(
  path: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const file = await open(beside, "wx", 0o644);
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

async function withImage(
  root: string,
  { mediaType, digest, size }: Descriptor,
  tag: string | undefined,
): Promise<ImageIndex> {
  const index = await readIndex(root);
  const others = index.manifests.filter((entry) => entry.annotations?.[REF_NAME] !== tag);
  const entry = {
    mediaType,
    digest,
    size,
    annotations: tag === undefined ? {} : { [REF_NAME]: tag },
  };
  return { ...index, manifests: [...others, entry] };
}

async function readIndex(root: string): Promise<ImageIndex> {
  let bytes: Uint8Array;
  try {
    bytes = await readBounded(join(root, "index.json"), { maxBytes: MANIFEST_LIMIT_BYTES });
  } catch (error) {
    if (AppError.from(error).code !== "not_found") throw error;
    return { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: [] };
  }
  const document = parseManifest(bytes, MEDIA_TYPE_OCI_INDEX);
  if (document.kind === "index") return document.index;
  throw new AppError("data_loss", `Cannot read ${root}/index.json: it is no image index`);
}
