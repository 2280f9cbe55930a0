import { AppError, type ErrorCode } from "@soci-ts/core";

/** An error that says what this package was doing when `cause` happened. `code` defaults to that of the cause. */
export function wrapped(message: string, cause: unknown, code?: ErrorCode): AppError {
  return new AppError(code ?? AppError.from(cause).code, message, { cause });
}
