import { constants, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import type { ReadableFile } from "./file-blob.ts";
import { wrapped } from "./wrapped.ts";

/** A file that holds an archive, to be read at any offset. */
export interface ArchiveFile {
  /** For messages: its path, or `stdin`. */
  readonly name: string;
  /** Opens it for one use; it is still the file that was opened first. Whoever asked for it disposes it. */
  open(): Promise<OpenArchive>;
}

/** An archive that is open for one use. */
export interface OpenArchive extends AsyncDisposable {
  readonly file: ReadableFile;
  readonly sizeBytes: number;
}

/**
 * The file at `path`, opened for each use, so that nothing has to be closed. Its offsets are only good for the file they were read from:
 * one that was replaced or written to since the first use is refused as `aborted`.
 */
export function pathArchive(path: string): ArchiveFile {
  let first: Stats | undefined;
  return {
    name: path,
    async open() {
      const file = await openFile(path);
      const range = (stats: Stats): OpenArchive => ({
        file,
        sizeBytes: stats.size,
        [Symbol.asyncDispose]: () => file.close(),
      });
      try {
        const stats = await file.stat();
        if (!stats.isFile()) throw notSeekable(path);
        first ??= stats;
        if (isSame(first, stats)) return range(stats);
        throw new AppError(
          "aborted",
          `Cannot read ${path}: it was changed meanwhile, want it to stay as it is`,
        );
      } catch (error) {
        await file.close();
        throw error;
      }
    },
  };
}

/** A file that is open already and stays so; it is the caller's to close. */
export function openedArchive(name: string, file: ReadableFile, sizeBytes: number): ArchiveFile {
  const opened = { file, sizeBytes, [Symbol.asyncDispose]: async () => {} };
  return { name, open: async () => opened };
}

/** O_NONBLOCK: a fifo must not block us before it can be refused. */
async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY + constants.O_NONBLOCK);
  } catch (error) {
    const systemCode = (error as NodeJS.ErrnoException).code;
    const state = systemCode === "ENOENT" ? "it does not exist" : systemCode;
    throw wrapped(`Cannot open ${path}: ${state}`, error);
  }
}

function notSeekable(path: string): AppError {
  return new AppError(
    "invalid_argument",
    `Cannot open ${path}: it is not a regular file, want one (a pipe can be given as "-", on stdin)`,
  );
}

function isSame(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs;
}
