import { constants } from "node:os";
import { AppError, type ErrorCode } from "@soci-ts/core";

/** A failure that reaches the caller of the system call as exactly this errno. */
export class FuseError extends Error {
  override readonly name = "FuseError";
  /** Positive, as in errno(3). */
  readonly errno: number;

  constructor(errno: number, message?: string) {
    super(message ?? `errno ${errno}`);
    this.errno = errno;
  }
}

const { EACCES, EINTR, EINVAL, EIO, ENOENT, EOPNOTSUPP } = constants.errno;

/** Every code as an errno. ENOSYS is not among them: to the kernel it says "never ask that again". */
const ERRNOS: Readonly<Record<ErrorCode, number>> = {
  not_found: ENOENT,
  already_exists: EIO,
  invalid_argument: EINVAL,
  failed_precondition: EIO,
  unauthenticated: EIO,
  permission_denied: EACCES,
  resource_exhausted: EIO,
  unavailable: EIO,
  deadline_exceeded: EIO,
  aborted: EIO,
  cancelled: EINTR,
  out_of_range: EINVAL,
  unimplemented: EOPNOTSUPP,
  data_loss: EIO,
  internal: EIO,
};

/** The errno (positive) that a handler's failure is answered with. */
export function errnoOf(error: unknown): number {
  if (error instanceof FuseError) return error.errno;
  return ERRNOS[AppError.from(error).code];
}

/**
 * The errno (positive) that a failed READ is answered with. The file is there and open, so whatever keeps its bytes away is an I/O error to
 * who reads it, a registry's "not found" too; an interrupted reader gets EINTR.
 */
export function readErrnoOf(error: unknown): number {
  const errno = errnoOf(error);
  return error instanceof FuseError || errno === EINTR ? errno : EIO;
}
