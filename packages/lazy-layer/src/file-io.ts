import { type FileHandle, open } from "node:fs/promises";

/** Opens a file that is there, to be written if its file system allows that; what is in it can be read in any case. */
export async function openThere(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    // EPERM: it is immutable, because the kernel reads it without us.
    if (!["EROFS", "EACCES", "EPERM"].includes(code)) throw error;
    return await open(path, "r");
  }
}

/** Writes all of `bytes` at `position`. */
export async function writeFully(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Reads into all of `bytes` from `position`; false if the file ends before. */
export async function readFully(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<boolean> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}
