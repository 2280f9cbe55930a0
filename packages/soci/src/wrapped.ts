import { AppError, type ErrorCode } from "@soci-ts/core";

/** An error that says what this package was doing when `cause` happened. `code` defaults to that of the cause. */
export function wrapped(message: string, cause: unknown, code?: ErrorCode): AppError {
  return new AppError(code ?? AppError.from(cause).code, message, { cause });
}

/** A codec does not know which document it reads: this says it. */
export function parsed<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw wrapped(`Cannot use ${what}: ${AppError.from(error).message}`, error);
  }
}
