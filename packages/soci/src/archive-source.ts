import { resolve as resolvePath } from "node:path";
import { AppError, type Digest, type IoOptions, verifyDigest } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { IMAGE_CONFIG_LIMIT_BYTES } from "@soci-ts/oci";
import { type ArchiveEntries, type ArchiveEntry, readArchiveEntries } from "./archive-entries.ts";
import { type ArchiveFile, pathArchive } from "./archive-file.ts";
import { OpenedArchiveFiles } from "./archive-files.ts";
import { type DockerArchive, readDockerArchive } from "./docker-archive.ts";
import { FileBlob, readVerified } from "./file-blob.ts";
import { imageSource } from "./image-medium.ts";
import type { ImageBlob } from "./image-source.ts";
import type { ImageTree } from "./image-tree.ts";
import { layoutBlobPath, layoutImageSource } from "./layout-source.ts";

/** The tar of an OCI layout, or what `docker save` writes. */
export type ArchiveKind = "oci-archive" | "docker-archive";

/** Where an archive lies and which of its images is meant. */
export interface ArchiveName {
  readonly kind: ArchiveKind;
  readonly path: string;
  /** A tag or full name in its index, or a reference that it was saved by; without it the archive must hold one image. */
  readonly tag?: string;
}

/**
 * Splits `oci-archive:FILE[:TAG]` and `docker-archive:FILE[:REF]` at the first colon after the kind, as skopeo does: FILE has no colon.
 * `undefined` if `text` starts with neither.
 * @throws AppError `invalid_argument` if the file or the tag is empty.
 */
export function parseArchiveName(text: string): ArchiveName | undefined {
  const match = /^(oci-archive|docker-archive):([^:]*)(?::(.*))?$/s.exec(text);
  if (match === null) return undefined;
  const [, kind, path, tag] = match;
  if (path === undefined || path === "" || tag === "") {
    const state = tag === "" ? "the name after the file is empty" : "the file is empty";
    throw new AppError(
      "invalid_argument",
      `Cannot parse ${JSON.stringify(text)}: ${state}, want ${kind}:FILE or ${kind}:FILE:NAME`,
    );
  }
  return {
    kind: kind === "oci-archive" ? kind : "docker-archive",
    path,
    ...(tag !== undefined && { tag }),
  };
}

/** An archive file as a source; see {@link archiveImageSource}. */
export function archiveFileImageSource({ kind, path, tag }: ArchiveName): ImageTree {
  const full = resolvePath(path);
  const reference = tag === undefined ? `${kind}:${full}` : `${kind}:${full}:${tag}`;
  return archiveImageSource({ archive: pathArchive(full), kind, tag, reference });
}

/** An archive, and which of its images is meant. */
export interface ArchiveSourceOptions {
  readonly archive: ArchiveFile;
  /** What it has to be; any kind if undefined. */
  readonly kind?: ArchiveKind | undefined;
  /** See {@link ArchiveName}. */
  readonly tag?: string | undefined;
  /** What the source is called. */
  readonly reference: string;
  /** Where they are known already. */
  readonly entries?: ArchiveEntries | undefined;
}

/**
 * An image in an archive, which is read where it lies and never unpacked: its entries are found once, at the first use. An archive with
 * `oci-layout` and `index.json` is read as an OCI layout, also where `docker save` wrote it; one with `manifest.json` alone is of
 * Docker's old form, for which see `readDockerArchive`. Blobs are read from regular files only; links are followed, inside the archive,
 * in Docker's old form, which has links for layers that are there twice.
 * @throws AppError, at the first use, `invalid_argument` if the file is no archive of the kind, or a compressed one; `data_loss` if it is
 * broken or a name leads out of it; `resource_exhausted` beyond a limit; `aborted` if it was changed since.
 */
export function archiveImageSource(options: ArchiveSourceOptions): ImageTree {
  let opening: Promise<OpenedImage> | undefined;
  const open = (io?: IoOptions): Promise<OpenedImage> => {
    opening ??= openImage(options, io).catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
  return {
    reference: options.reference,
    resolve: async (platform, io) => (await open(io)).source.resolve(platform, io),
    platforms: async (io) => (await open(io)).source.platforms(io),
    readRoot: async (io) => (await open(io)).source.readRoot(io),
    readManifest: async (descriptor, io) => (await open(io)).source.readManifest(descriptor, io),
    readConfig: async (descriptor, io) => (await open(io)).source.readConfig(descriptor, io),
    openBlob: (descriptor) =>
      new FileBlob(descriptor.size, async () => {
        const { files, find } = await open();
        return files.openAt(checkedEntry(find(descriptor), descriptor));
      }),
  };
}

interface OpenedImage {
  readonly files: OpenedArchiveFiles;
  readonly source: ImageTree;
  readonly find: (descriptor: Descriptor) => ArchiveEntry;
}

async function openImage(options: ArchiveSourceOptions, io?: IoOptions): Promise<OpenedImage> {
  const { archive, kind, tag, reference } = options;
  const entries = options.entries ?? (await readArchiveEntries(archive, io));
  const files = new OpenedArchiveFiles(archive, entries);
  const isLayout = entries.has("oci-layout") && entries.has("index.json");
  const isDocker = entries.has("manifest.json");
  checkKind({
    name: archive.name,
    kind,
    isLayout,
    isDocker,
    isAncient: entries.has("repositories"),
  });
  if (!isLayout) {
    const docker = await readDockerArchive(files, tag, io);
    return { files, source: dockerSource(files, docker, reference), find: finder(docker, archive) };
  }
  const find = ({ digest }: Descriptor): ArchiveEntry => entries.file(layoutBlobPath(digest));
  const layout = {
    name: archive.name,
    form: `${kind ?? "oci-archive"}:FILE:NAME`,
    read: (name: string, bounds: IoOptions & { readonly maxBytes: number }) =>
      files.readWhole(name, bounds),
    openBlob: (descriptor: Descriptor): ImageBlob =>
      files.blobAt(checkedEntry(find(descriptor), descriptor)),
  };
  return { files, source: layoutImageSource(layout, { reference, tag }), find };
}

function checkKind(found: {
  readonly name: string;
  readonly kind: ArchiveKind | undefined;
  readonly isLayout: boolean;
  readonly isDocker: boolean;
  readonly isAncient: boolean;
}): void {
  const { kind, isLayout, isDocker } = found;
  if (kind === "oci-archive" ? isLayout : isDocker || (isLayout && kind === undefined)) return;
  const problem = (state: string): AppError =>
    new AppError("invalid_argument", `Cannot read archive ${found.name}: ${state}`);
  if (kind === "oci-archive" && isDocker) {
    throw problem("it has manifest.json and no oci-layout, want it given as docker-archive:FILE");
  }
  if (isLayout) {
    throw problem("it has oci-layout and no manifest.json, want it given as oci-archive:FILE");
  }
  if (found.isAncient) {
    throw problem("Docker before 1.10 saved it, want it loaded and saved again by a later one");
  }
  throw problem("it holds neither oci-layout and index.json nor manifest.json, want an image");
}

function dockerSource(
  files: OpenedArchiveFiles,
  docker: DockerArchive,
  reference: string,
): ImageTree {
  const find = finder(docker, files);
  const openBlob = (descriptor: Descriptor): ImageBlob =>
    files.blobAt(checkedEntry(find(descriptor), descriptor));
  return imageSource({
    reference,
    readRoot: async () => docker.root,
    readManifest: async ({ digest }) => {
      verifyDigest("manifest", docker.root.bytes, digest);
      return docker.root.bytes;
    },
    readConfig: (descriptor, io) =>
      readVerified(
        `config of ${files.name},`,
        { blob: openBlob(descriptor), descriptor },
        { ...io, maxBytes: IMAGE_CONFIG_LIMIT_BYTES },
      ),
    openBlob,
  });
}

function finder(
  { blobs }: DockerArchive,
  { name }: { readonly name: string },
): (descriptor: { readonly digest: Digest }) => ArchiveEntry {
  return ({ digest }) => {
    const entry = blobs.get(digest);
    if (entry !== undefined) return entry;
    throw new AppError("not_found", `Cannot read blob ${digest}: ${name} has none of that digest`);
  };
}

function checkedEntry(entry: ArchiveEntry, { digest, size }: Descriptor): ArchiveEntry {
  if (entry.sizeBytes === size) return entry;
  throw new AppError(
    "data_loss",
    `Cannot read blob ${digest}: it has ${entry.sizeBytes} bytes, want ${size} as its descriptor says`,
  );
}
