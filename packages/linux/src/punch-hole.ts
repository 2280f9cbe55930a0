import { AppError } from "@soci-ts/core";
import { errnoName, systemError } from "./errno.ts";
import { loadLibc } from "./ffi.ts";

/** From `linux/falloc.h`. */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** True if this process can call fallocate(2); whether a file's file system has holes is found out by {@link punchHole}. */
export function canPunchHoles(): boolean {
  return loadLibc() !== undefined;
}

/**
 * Gives the blocks of a file's bytes [start, end) back to the file system; they read as zeros from then on, the file keeps its length. Blocks
 * that lie only partly in the range stay. Runs in libuv's pool: ext4 writes dirty pages of the range out first.
 * @param fd - open for writing; the caller keeps it open until this has ended.
 * @throws AppError with `details.errno`; `unimplemented` without FFI, or if the file system has no holes.
 */
export async function punchHole(fd: number, start: number, end: number): Promise<void> {
  const libc = loadLibc();
  if (libc === undefined) {
    throw new AppError(
      "unimplemented",
      "Cannot punch a hole: FFI is not available, want the package koffi installed",
    );
  }
  if (start >= end) return;
  const mode = FALLOC_FL_PUNCH_HOLE + FALLOC_FL_KEEP_SIZE;
  const errno = await libc.fallocate(fd, mode, start, end - start);
  if (errno !== 0) throw systemError(`punch a hole at ${start}`, errnoName(errno));
}
