/** Every failure this project reports, by what the caller can do about it. The set is gRPC's, spelled in lower case. */
export type ErrorCode =
  | "not_found"
  | "already_exists"
  | "invalid_argument"
  | "failed_precondition"
  | "unauthenticated"
  | "permission_denied"
  | "resource_exhausted"
  | "unavailable"
  | "deadline_exceeded"
  | "aborted"
  | "cancelled"
  | "out_of_range"
  | "unimplemented"
  | "data_loss"
  | "internal";

/** Values worth logging beside a message; never a secret. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean>>;

/** What an {@link AppError} is made of besides its code and message. */
export interface AppErrorOptions {
  readonly cause?: unknown;
  readonly details?: ErrorDetails;
}

/** The one base of all errors that leave a package. Test `code`, not the text. */
export class AppError extends Error {
  override readonly name: string = "AppError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  /** The error itself if it is an AppError, else one that wraps it: aborts become `cancelled`, time-outs `deadline_exceeded`. */
  static from(error: unknown): AppError {
    if (error instanceof AppError) return error;
    if (error instanceof Error) {
      return new AppError(codeOf(error), error.message, { cause: error });
    }
    return new AppError("internal", String(error), { cause: error });
  }
}

/** Bytes that are not what their format says. `offset` is where in the input, in bytes. */
export class FormatError extends AppError {
  override readonly name = "FormatError";
  readonly format: string;
  readonly offset: number;

  constructor(format: string, offset: number, message: string, options: AppErrorOptions = {}) {
    super("data_loss", `Cannot read ${format} at offset ${offset}: ${message}`, {
      ...options,
      details: { format, offset, ...options.details },
    });
    this.format = format;
    this.offset = offset;
  }
}

/** Content that does not have the digest (or the size) it was asked for by. */
export class DigestMismatchError extends AppError {
  override readonly name = "DigestMismatchError";
  readonly expected: string;
  readonly actual: string;

  constructor(what: string, expected: string, actual: string, options: AppErrorOptions = {}) {
    super("data_loss", `Cannot accept ${what}: its digest is ${actual}, want ${expected}`, {
      ...options,
      details: { expected, actual, ...options.details },
    });
    this.expected = expected;
    this.actual = actual;
  }
}

const SYSTEM_CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not_found",
  EEXIST: "already_exists",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
  ENOSPC: "resource_exhausted",
  EDQUOT: "resource_exhausted",
  EMFILE: "resource_exhausted",
  ECONNREFUSED: "unavailable",
  ECONNRESET: "unavailable",
  EPIPE: "unavailable",
  ENOTFOUND: "unavailable",
  EAI_AGAIN: "unavailable",
  ETIMEDOUT: "deadline_exceeded",
};

function codeOf(error: Error): ErrorCode {
  if (error.name === "AbortError") return "cancelled";
  if (error.name === "TimeoutError") return "deadline_exceeded";
  const systemCode = (error as NodeJS.ErrnoException).code;
  return (systemCode !== undefined && SYSTEM_CODES[systemCode]) || "internal";
}
