import { copyFile, stat, truncate } from "node:fs/promises";

/** A log that has grown beyond this is begun anew; what was in it is kept once, as `NAME.1`. */
export const MAX_LOG_BYTES: number = 16 * 2 ** 20;

/**
 * Begins a log anew that has grown too long. Whoever writes to it must have opened it to append: then the next line stands at its new start. Lines
 * that come between the copy and the cut are lost.
 * @throws AppError-like system errors if the disk can't be written; a log that is not there is short enough.
 */
export async function boundLog(path: string, maxBytes: number = MAX_LOG_BYTES): Promise<void> {
  const found = await stat(path).catch(() => undefined); // the keeper logs elsewhere
  if (found === undefined || found.size <= maxBytes) return;
  try {
    await copyFile(path, `${path}.1`);
  } finally {
    // Also on a full disk, where there is no room for a copy.
    await truncate(path, 0);
  }
}
