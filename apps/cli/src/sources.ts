import { fstatSync, read } from "node:fs";
import { addAbortSignal } from "node:stream";
import { promisify } from "node:util";
import { AppError, type DisposeStack } from "@soci-ts/core";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { ImageTree } from "@soci-ts/soci";
import type { Store } from "@soci-ts/store";
import type { Config } from "./config.ts";

/** What the sources of images are made with. */
export interface SourceParts {
  readonly config: Config;
  /** Closes what a source holds open. */
  readonly stack: DisposeStack;
  readonly signal: AbortSignal;
  store(): Promise<Store>;
  client(): Promise<RegistryClient>;
}

/** The name of an archive on stdin. */
export const STDIN = "-";

/**
 * The image that `name` means: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, `containerd:NAME`, `-`, or a reference. That is of a
 * registry, or of containerd where an option that only concerns containerd was given.
 */
export async function openSource(parts: SourceParts, name: string): Promise<ImageTree> {
  if (name === STDIN) return stdinSource(parts);
  const soci = await import("@soci-ts/soci/sources");
  const layout = soci.parseOciLayoutName(name);
  if (layout !== undefined) return soci.ociLayoutImageSource(layout.directory, layout.tag);
  const archive = soci.parseArchiveName(name);
  if (archive !== undefined) return soci.archiveFileImageSource(archive);
  const imageName = soci.parseContainerdName(name);
  if (imageName !== undefined) return containerdSource(parts, imageName);
  if (parts.config.containerd.isChosen) return containerdSource(parts, name);
  const { parseReference } = await import("@soci-ts/oci");
  return soci.registryImageSource(await parts.client(), parseReference(name));
}

async function containerdSource(parts: SourceParts, name: string): Promise<ImageTree> {
  const { containerdImageSource } = await import("@soci-ts/soci/sources");
  const { openContainerdContent } = await import("./containerd-content.ts");
  const content = parts.stack.use(openContainerdContent(parts.config.containerd));
  return containerdImageSource(content, name);
}

/**
 * A file on stdin is read where it lies. A pipe can't be: the documents that say which entries are layers often come last, and an
 * image's layers are needed in its own order, so the archive is kept in a file without a name on the store's disk.
 */
async function stdinSource({ stack, store, signal }: SourceParts): Promise<ImageTree> {
  const { archiveImageSource, openedArchive, spoolArchive } = await import("@soci-ts/soci/sources");
  const reference = STDIN;
  const stats = fstatSync(0);
  if (stats.isFile()) {
    const readStdin = promisify(read);
    const file = {
      read: (buffer: Uint8Array, offset: number, length: number, position: number) =>
        readStdin(0, buffer, offset, length, position),
    };
    const archive = openedArchive("stdin", file, stats.size);
    return archiveImageSource({ archive, reference });
  }
  if (process.stdin.isTTY) {
    throw new AppError(
      "invalid_argument",
      "Cannot read an archive from stdin: it is a terminal, want a pipe or a file",
    );
  }
  const file = await (await store()).temporaryFile();
  stack.defer(() => file.close());
  const spooled = await spoolArchive("stdin", addAbortSignal(signal, process.stdin), file);
  return archiveImageSource({ ...spooled, reference });
}
