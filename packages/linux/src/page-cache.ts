import { loadLibc } from "./ffi.ts";

/** `POSIX_FADV_DONTNEED`. */
const FADV_DONTNEED = 4;

/**
 * Has the kernel give back the page cache of a file: its clean pages now; those that are not written yet, it begins to write, and a later call gives them
 * back. Pages that somebody has mapped stay. Runs in libuv's pool, since beginning to write may wait for the disk.
 * @returns false if nothing was done: there is no FFI, or the file system has none of this. What is read or written is the same in any case.
 */
export async function dropFilePages(fd: number): Promise<boolean> {
  const libc = loadLibc();
  return libc !== undefined && (await libc.fadvise(fd, 0, 0, FADV_DONTNEED)) === 0;
}
