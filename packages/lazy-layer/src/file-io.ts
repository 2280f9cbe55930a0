import { randomBytes } from "node:crypto";
import { readSync } from "node:fs";
import { type FileHandle, open, rename, rm, writeFile } from "node:fs/promises";

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

/** Makes a file, or replaces the one that is there, in one step: nobody sees half of it. */
export async function replaceFile(path: string, contents: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await writeFile(temporary, contents, { mode: 0o600, flag: "wx" });
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
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

/** The same, while the thread waits. */
export function readFullySync(file: number, bytes: Uint8Array, position: number): boolean {
  let done = 0;
  while (done < bytes.length) {
    const count = readSync(file, bytes, done, bytes.length - done, position + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}
