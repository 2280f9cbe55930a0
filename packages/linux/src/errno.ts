import { constants } from "node:os";
import { AppError, type ErrorCode } from "@soci-ts/core";

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, value]) => [value, name]),
);

const CODES: Readonly<Record<string, ErrorCode>> = {
  EPERM: "permission_denied",
  EACCES: "permission_denied",
  ENOENT: "not_found",
  ENOTDIR: "failed_precondition",
  EBUSY: "failed_precondition",
  EINVAL: "failed_precondition",
  ELOOP: "failed_precondition",
  ENODEV: "unimplemented",
  ENOSYS: "unimplemented",
  EOPNOTSUPP: "unimplemented",
  ENOMEM: "resource_exhausted",
  EMFILE: "resource_exhausted",
  ENOSPC: "resource_exhausted",
  E2BIG: "resource_exhausted",
  EIO: "data_loss",
  EUCLEAN: "data_loss",
};

/** `EBUSY` for 16, or `errno N` for a number that has no name here. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/**
 * The error for a system call that failed. `details.errno` holds the errno's name, for callers that tell one from another.
 * @param what - for example `mount erofs on "/run/x"`.
 */
export function systemError(what: string, errno: string, hint?: string): AppError {
  const tail = hint === undefined ? "" : `; ${hint}`;
  return new AppError(CODES[errno] ?? "internal", `Cannot ${what}: ${errno}${tail}`, {
    details: { errno },
  });
}
