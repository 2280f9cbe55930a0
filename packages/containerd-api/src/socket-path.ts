import { isAbsolute } from "node:path";
import { AppError } from "@soci-ts/core";

/** unix(7): sun_path has 108 bytes, the last one 0. */
export const MAX_SOCKET_PATH_BYTES = 107;

/** @throws AppError `invalid_argument` if a Unix socket can't have this path. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (!isAbsolute(path) || path.includes("\0")) {
    throw new AppError(
      "invalid_argument",
      `Cannot use socket ${JSON.stringify(path)}: want an absolute path`,
    );
  }
  if (length > MAX_SOCKET_PATH_BYTES) {
    throw new AppError(
      "invalid_argument",
      `Cannot use socket ${JSON.stringify(path)}: its path has ${length} bytes, want at most ${MAX_SOCKET_PATH_BYTES}`,
    );
  }
}
