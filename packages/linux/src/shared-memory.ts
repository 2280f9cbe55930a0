import { fstatSync } from "node:fs";
import { AppError } from "@soci-ts/core";
import { errnoName, systemError } from "./errno.ts";
import { loadLibc } from "./ffi.ts";

/**
 * The first bytes of an open file as memory that is shared with everybody who reads or maps it: what is written there is in the file at once and stays
 * when the process is killed. `undefined` where FFI is missing. The mapping lasts as long as the process. All its pages
 * are brought in at once, so the kernel can copy into it without a page fault.
 *
 * Meant for tmpfs. The file must never be truncated while it is mapped: touching what is gone ends the process with SIGBUS.
 * @throws AppError `out_of_range` if the file is shorter; else as the system's error says.
 */
export function mapShared(fd: number, sizeBytes: number): Uint8Array | undefined {
  const libc = loadLibc();
  if (libc === undefined) return undefined;
  const { size } = fstatSync(fd);
  if (size < sizeBytes) {
    throw new AppError(
      "out_of_range",
      `Cannot map a file: it has ${size} bytes, want ${sizeBytes} or more`,
    );
  }
  const mapped = libc.mapShared(fd, sizeBytes);
  if (typeof mapped !== "number") return mapped;
  throw systemError(`map ${sizeBytes} bytes of a file`, errnoName(mapped));
}
