import { AppError } from "@soci-ts/core";

/** A failure with what was being done; `doing` completes "Cannot …". An AppError already says it and is handed on as it is. */
export function storeError(doing: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { code, message } = AppError.from(error);
  return new AppError(code, `Cannot ${doing}: ${message}`, { cause: error });
}
