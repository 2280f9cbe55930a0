import { loadLibc } from "./ffi.ts";

/** `POSIX_FADV_RANDOM`, `POSIX_FADV_DONTNEED`. */
const FADV_RANDOM = 1;
const FADV_DONTNEED = 4;

/**
 * Has the kernel read no more of an open file than it is asked for: for whoever reads all of it, and is not to keep others waiting for the disk. What a
 * device reads ahead can be 8 MiB, some ten milliseconds.
 * @returns false if nothing was done: there is no FFI, or the file system has none of this.
 */
export async function readNothingAhead(fd: number): Promise<boolean> {
  const libc = loadLibc();
  return libc !== undefined && (await libc.fadvise(fd, 0, 0, FADV_RANDOM)) === 0;
}

/** `SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER`. */
const WRITE_AND_WAIT = 7;

/**
 * Has the kernel write bytes of a file to the disk, and resolves when it has: so they can't come together with others and keep those who read waiting. It
 * says nothing of what a power cut leaves.
 * @returns false if that could not be done, or writing failed: there is no FFI, or the file system has none of this.
 */
export async function writeOut(fd: number, offset: number, lengthBytes: number): Promise<boolean> {
  const libc = loadLibc();
  return (
    libc !== undefined && (await libc.syncFileRange(fd, offset, lengthBytes, WRITE_AND_WAIT)) === 0
  );
}

/**
 * Has the kernel give back the page cache of a file: its clean pages now; those that are not written yet, it begins to write, and a later call gives them
 * back. Pages that somebody has mapped stay. Runs in libuv's pool, since beginning to write may wait for the disk.
 * @returns false if nothing was done: there is no FFI, or the file system has none of this. What is read or written is the same in any case.
 */
export async function dropFilePages(fd: number): Promise<boolean> {
  const libc = loadLibc();
  return libc !== undefined && (await libc.fadvise(fd, 0, 0, FADV_DONTNEED)) === 0;
}
