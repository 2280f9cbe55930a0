import { AppError, type ErrorCode } from "@soci-ts/core";
import { ERROR_BODY_LIMIT_BYTES, MAX_ERROR_TEXT_LENGTH, MAX_SPEC_ERRORS } from "./limits.ts";
import type { Redactor } from "./redact.ts";

/** One entry of a registry's error body (distribution-spec v1.1.1, §Error Codes). Secrets are taken out. */
export interface SpecError {
  /** For example `MANIFEST_UNKNOWN`. */
  readonly code: string;
  readonly message: string;
}

/** A registry's (or its token server's, or its CDN's) answer that is an error. */
export class RegistryError extends AppError {
  override readonly name = "RegistryError";
  /** The HTTP status. */
  readonly status: number;
  readonly specErrors: readonly SpecError[];
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    action: string,
    answer: {
      readonly status: number;
      readonly specErrors?: readonly SpecError[];
      readonly retryAfterMs?: number | undefined;
      readonly hint?: string | undefined;
      /** Instead of the message that the rest makes. */
      readonly message?: string | undefined;
      readonly cause?: unknown;
    },
  ) {
    const { status, specErrors = [], hint, retryAfterMs } = answer;
    const reasons = specErrors.map(({ code, message }) => ` ${code} (${message})`).join(",");
    const wait =
      retryAfterMs === undefined ? "" : `; it asks to wait ${Math.ceil(retryAfterMs / 1000)} s`;
    const advice = hint === undefined ? wait : `${wait}; ${hint}`;
    const text = `Cannot ${action}: the answer is ${status}${reasons}${advice}`;
    super(statusCode(status), answer.message ?? text, {
      details: { status },
      ...(answer.cause !== undefined && { cause: answer.cause }),
    });
    this.status = status;
    this.specErrors = specErrors;
    this.retryAfterMs = retryAfterMs;
  }

  /** The same answer in other words. */
  withMessage(message: string): RegistryError {
    const { status, specErrors, retryAfterMs } = this;
    return new RegistryError("", { status, specErrors, retryAfterMs, message, cause: this });
  }
}

/** A request that got no answer, or one whose body broke off or is not what was asked for. Worth another try. */
export class TransportError extends AppError {
  /** False if the server surely never saw the request. */
  readonly sent: boolean;

  constructor(code: ErrorCode, message: string, options: { sent: boolean; cause?: unknown }) {
    super(code, message, options.cause === undefined ? {} : { cause: options.cause });
    this.sent = options.sent;
  }
}

const STATUS_CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [400, "invalid_argument"],
  [401, "unauthenticated"],
  [403, "permission_denied"],
  [404, "not_found"],
  [405, "unimplemented"],
  [408, "deadline_exceeded"],
  [409, "aborted"],
  [412, "aborted"],
  [413, "resource_exhausted"],
  [416, "out_of_range"],
  [429, "resource_exhausted"],
  [501, "unimplemented"],
  [504, "deadline_exceeded"],
]);

function statusCode(status: number): ErrorCode {
  return STATUS_CODES.get(status) ?? (status >= 500 ? "unavailable" : "failed_precondition");
}

/** The errors in a registry's error body; none if it is no such body. */
export function parseSpecErrors(body: Uint8Array, redactor: Redactor): SpecError[] {
  if (body.length > ERROR_BODY_LIMIT_BYTES) return [];
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    // Gateways answer with HTML; the status says enough.
    return [];
  }
  const errors = field(document, "errors");
  if (!Array.isArray(errors)) return [];
  const clean = (value: unknown): string =>
    typeof value === "string" ? redactor.scrub(value, MAX_ERROR_TEXT_LENGTH) : "";
  return errors.slice(0, MAX_SPEC_ERRORS).map((entry) => ({
    code: clean(field(entry, "code")) || "UNKNOWN",
    message: clean(field(entry, "message")),
  }));
}

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}
