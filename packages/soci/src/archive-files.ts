import { AppError, type IoOptions } from "@soci-ts/core";
import type { ArchiveEntries, ArchiveEntry } from "./archive-entries.ts";
import type { ArchiveFile } from "./archive-file.ts";
import { checkSize, FileBlob, type OpenRange } from "./file-blob.ts";
import type { ImageBlob } from "./image-source.ts";

/** The files of an archive whose entries are known, read where they lie. */
export class OpenedArchiveFiles {
  readonly entries: ArchiveEntries;
  readonly #archive: ArchiveFile;

  constructor(archive: ArchiveFile, entries: ArchiveEntries) {
    this.#archive = archive;
    this.entries = entries;
  }

  /** The archive's, for messages. */
  get name(): string {
    return this.#archive.name;
  }

  /** A file that is not named by a digest; links are followed. @throws AppError `resource_exhausted` if it is larger than `maxBytes`. */
  async readWhole(
    name: string,
    options: IoOptions & { readonly maxBytes: number },
  ): Promise<Uint8Array> {
    const entry = this.entries.follow(name);
    checkSize(`${JSON.stringify(name)} in ${this.name}`, entry.sizeBytes, options.maxBytes);
    return this.blobAt(entry).readAt(0, entry.sizeBytes, options);
  }

  /** The bytes of an entry. */
  blobAt(entry: ArchiveEntry): ImageBlob {
    return new FileBlob(entry.sizeBytes, () => this.openAt(entry));
  }

  /** Opens the archive where an entry's bytes start. @throws AppError `data_loss` if the archive ends before they do. */
  async openAt({ offset, sizeBytes }: ArchiveEntry): Promise<OpenRange> {
    const opened = await this.#archive.open();
    const close = (): PromiseLike<void> => opened[Symbol.asyncDispose]();
    if (offset + sizeBytes <= opened.sizeBytes) {
      return { file: opened.file, offset, [Symbol.asyncDispose]: close };
    }
    await close();
    throw new AppError(
      "data_loss",
      `Cannot read ${this.name}: it has ${opened.sizeBytes} bytes, want ${offset + sizeBytes}`,
    );
  }
}
