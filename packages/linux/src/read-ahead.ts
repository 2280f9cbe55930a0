import { readdirSync, writeFileSync } from "node:fs";
import { AppError } from "@soci-ts/core";

const BDI_DIRECTORY = "/sys/class/bdi";

/**
 * Sets the kernel's read-ahead of a backing device. Lasts as long as the mount.
 * @param bdi - a name in `/sys/class/bdi`: `major:minor` for FUSE, `erofs-N` for EROFS mounted from a file.
 * @param sizeKb - in KiB; 0 turns read-ahead off, so that a page fault asks for that page only.
 * @throws AppError if there is no such device or it may not be set.
 */
export function setReadAhead(bdi: string, sizeKb: number): void {
  try {
    writeFileSync(`${BDI_DIRECTORY}/${bdi}/read_ahead_kb`, String(sizeKb));
  } catch (error) {
    throw readAheadError(bdi, AppError.from(error));
  }
}

function readAheadError(bdi: string, cause: AppError): AppError {
  return new AppError(cause.code, `Cannot set read-ahead of ${bdi}: ${cause.message}`, { cause });
}

/**
 * Names of the backing devices of EROFS mounts. The kernel does not say which mount one belongs to: what is new after a mount
 * holds that mount's.
 */
export function erofsBackingDevices(): ReadonlySet<string> {
  try {
    return new Set(readdirSync(BDI_DIRECTORY).filter((name) => name.startsWith("erofs-")));
  } catch {
    return new Set(); // sysfs is not mounted: nothing to set either
  }
}
