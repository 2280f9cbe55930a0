import { closeSync, fstatSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { AppError, type Logger } from "@soci-ts/core";
import {
  JOURNAL_BYTES,
  JOURNAL_HEADER,
  type JournalMemory,
  refuseNewerJournal,
} from "@soci-ts/fuse";
import { mapShared } from "@soci-ts/linux";

/** What opening the journal's file needs. */
export interface JournalFileOptions {
  /** On tmpfs: it has to outlive the process, not the machine. */
  readonly path: string;
  readonly logger: Logger;
  /** Stands in for `mapShared` in tests. */
  readonly map?: typeof mapShared;
}

/**
 * The file of the journal of FUSE requests, made if there is none; one of a wrong length is made anew. Where files can't be mapped, it is a copy that is
 * written on each change. It stays open as long as the process lives. `undefined` if there can be no file: requests are then
 * served without being written down, and that is logged.
 * @throws AppError `failed_precondition` if a newer version wrote it.
 */
export function openJournalFile(options: JournalFileOptions): JournalMemory | undefined {
  const { path, logger, map = mapShared } = options;
  try {
    const fd = openWhole(path, logger);
    const mapped = mapOrNothing(map, fd, logger);
    if (mapped !== undefined) {
      closeSync(fd); // the mapping keeps the file
      return { bytes: mapped };
    }
    // Shared with the thread that receives into it.
    const bytes = new Uint8Array(new SharedArrayBuffer(JOURNAL_BYTES));
    readSync(fd, bytes, 0, bytes.length, 0);
    return { bytes, written: (start, end) => writeSync(fd, bytes, start, end - start, start) };
  } catch (error) {
    if (error instanceof AppError && error.code === "failed_precondition") throw error;
    const { message } = AppError.from(error);
    logger.error("FUSE requests are not written down", { path, error: message });
    return undefined;
  }
}

function mapOrNothing(map: typeof mapShared, fd: number, logger: Logger): Uint8Array | undefined {
  try {
    return map(fd, JOURNAL_BYTES);
  } catch (error) {
    logger.warn("journal of FUSE requests not mapped", { error: AppError.from(error).message });
    return undefined;
  }
}

/** A descriptor of a file that has its length, and every page of it: writing to a page that can't be had would end the process. */
function openWhole(path: string, logger: Logger): number {
  const there = openIfThere(path);
  if (there !== undefined) {
    const head = new Uint8Array(JOURNAL_HEADER.sizeBytes);
    refuseNewerJournal(head.subarray(0, readSync(there, head, 0, head.length, 0)));
    const { size, blocks } = fstatSync(there);
    if (size === JOURNAL_BYTES) {
      if (blocks * 512 < size) fillHoles(there);
      return there;
    }
    logger.error("journal of FUSE requests made anew", { path, sizeBytes: size });
    closeSync(there);
    rmSync(path); // not truncated: a dying server may have it mapped
  }
  const fd = openSync(path, "wx+", 0o600);
  writeSync(fd, new Uint8Array(JOURNAL_BYTES), 0, JOURNAL_BYTES, 0);
  return fd;
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, "r+");
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
}

function fillHoles(fd: number): void {
  const bytes = new Uint8Array(JOURNAL_BYTES);
  readSync(fd, bytes, 0, bytes.length, 0);
  writeSync(fd, bytes, 0, bytes.length, 0);
}
