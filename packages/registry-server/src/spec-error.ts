import { AppError, type ErrorCode } from "@soci-ts/core";
import { jsonResponse, type RegistryResponse } from "./http.ts";

/** The codes of distribution-spec v1.1.1 §Error Codes that this server uses. */
export type SpecErrorCode =
  | "BLOB_UNKNOWN"
  | "BLOB_UPLOAD_INVALID"
  | "BLOB_UPLOAD_UNKNOWN"
  | "DENIED"
  | "DIGEST_INVALID"
  | "MANIFEST_BLOB_UNKNOWN"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "SIZE_INVALID"
  | "TOOMANYREQUESTS"
  | "UNAUTHORIZED"
  | "UNSUPPORTED";

/** The usual HTTP status of each, and what it is among the project's own codes. */
const SPEC_CODES: Readonly<Record<SpecErrorCode, readonly [status: number, code: ErrorCode]>> = {
  BLOB_UNKNOWN: [404, "not_found"],
  BLOB_UPLOAD_INVALID: [400, "invalid_argument"],
  BLOB_UPLOAD_UNKNOWN: [404, "not_found"],
  DENIED: [403, "permission_denied"],
  DIGEST_INVALID: [400, "invalid_argument"],
  MANIFEST_BLOB_UNKNOWN: [400, "failed_precondition"],
  MANIFEST_INVALID: [400, "invalid_argument"],
  MANIFEST_UNKNOWN: [404, "not_found"],
  NAME_INVALID: [400, "invalid_argument"],
  NAME_UNKNOWN: [404, "not_found"],
  SIZE_INVALID: [400, "invalid_argument"],
  TOOMANYREQUESTS: [429, "resource_exhausted"],
  UNAUTHORIZED: [401, "unauthenticated"],
  UNSUPPORTED: [405, "unimplemented"],
};

/** What a {@link SpecError} may carry besides its code and message. */
export interface SpecErrorOptions {
  /** Another status than the code's usual one. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** One error is listed for each of these; by default one without a detail. */
  readonly details?: readonly string[];
  readonly cause?: unknown;
}

/** A refusal that the client is told in the specification's words. */
export class SpecError extends AppError {
  override readonly name = "SpecError";
  readonly status: number;
  readonly specCode: SpecErrorCode;
  readonly headers: Readonly<Record<string, string>>;
  readonly #details: readonly string[];

  constructor(specCode: SpecErrorCode, message: string, options: SpecErrorOptions = {}) {
    const [status, code] = SPEC_CODES[specCode];
    super(code, message, { cause: options.cause, details: { specCode } });
    this.specCode = specCode;
    this.status = options.status ?? status;
    this.headers = options.headers ?? {};
    this.#details = options.details ?? [];
  }

  /** The same refusal with more headers. */
  withHeaders(headers: Readonly<Record<string, string>>): SpecError {
    const { status, cause } = this;
    return new SpecError(this.specCode, this.message, {
      status,
      cause,
      headers: { ...this.headers, ...headers },
      details: this.#details,
    });
  }

  /** The answer with the specification's error body. */
  toResponse(): RegistryResponse {
    const { specCode: code, message } = this;
    const errors =
      this.#details.length === 0
        ? [{ code, message }]
        : this.#details.map((detail) => ({ code, message, detail }));
    return jsonResponse(this.status, { errors }, this.headers);
  }
}

const FAILURE_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  resource_exhausted: 503,
  unavailable: 503,
};

/** The one mapping of errors to answers. What is not a {@link SpecError} is our failure: its message may name paths and stays here. */
export function errorResponse(error: AppError): RegistryResponse {
  if (error instanceof SpecError) return error.toResponse();
  const isFull = isDiskFull(error);
  const status = isFull ? 507 : (FAILURE_STATUS[error.code] ?? 500);
  const message = isFull
    ? "Cannot store anything: the registry's disk is full"
    : "The registry failed";
  return errorAnswer(status, { code: "UNKNOWN", message });
}

/** An answer with the specification's error body, also for codes that are not ours. */
export function errorAnswer(
  status: number,
  error: { readonly code: string; readonly message: string },
  headers: Readonly<Record<string, string>> = {},
): RegistryResponse {
  return jsonResponse(status, { errors: [error] }, headers);
}

/** SQLITE_IOERR_SHMSIZE is how a full disk shows in the index of the WAL. The numbers are what node:sqlite gives. */
const DISK_FULL: ReadonlySet<unknown> = new Set([
  "ENOSPC",
  "EDQUOT",
  "SQLITE_FULL",
  "SQLITE_IOERR_SHMSIZE",
]);
const DISK_FULL_NUMBERS: ReadonlySet<unknown> = new Set([13, 4874]);

/** True if an error, or one that caused it, is that the disk or the quota is full. */
export function isDiskFull(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code, errcode } = at as { code?: unknown; errcode?: unknown };
    if (DISK_FULL.has(code) || DISK_FULL_NUMBERS.has(errcode)) {
      return true;
    }
  }
  return false;
}

/** Refuses a request whose `If-Match` or `If-None-Match` does not fit what is there (RFC 9110 §15.5.13). */
export function preconditionFailed(etag: string | undefined): SpecError {
  const state = etag === undefined ? "there is nothing" : `its ETag is ${etag}`;
  return new SpecError(
    "DENIED",
    `Cannot go on: ${state}, want what the request's conditions name`,
    { status: 412, headers: etag === undefined ? {} : { ETag: etag } },
  );
}

/** Refuses a method that a path does not have. */
export function methodNotAllowed(method: string, allowed: readonly string[]): SpecError {
  const allow = allowed.join(", ");
  return new SpecError("UNSUPPORTED", `Cannot ${method.slice(0, 20)} this path: want ${allow}`, {
    headers: { Allow: allow },
  });
}
