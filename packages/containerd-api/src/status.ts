import { type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import { AppError, type ErrorCode } from "@soci-ts/core";

/** Codes of errors as gRPC status numbers. `unknown`, the 16th failure that gRPC knows, only ever arrives. */
const STATUS_OF: Readonly<Record<ErrorCode, status>> = {
  cancelled: status.CANCELLED,
  invalid_argument: status.INVALID_ARGUMENT,
  deadline_exceeded: status.DEADLINE_EXCEEDED,
  not_found: status.NOT_FOUND,
  already_exists: status.ALREADY_EXISTS,
  permission_denied: status.PERMISSION_DENIED,
  resource_exhausted: status.RESOURCE_EXHAUSTED,
  failed_precondition: status.FAILED_PRECONDITION,
  aborted: status.ABORTED,
  out_of_range: status.OUT_OF_RANGE,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
  unavailable: status.UNAVAILABLE,
  data_loss: status.DATA_LOSS,
  unauthenticated: status.UNAUTHENTICATED,
};
const CODE_OF = new Map(
  Object.entries(STATUS_OF).map(([code, number]) => [number, code as ErrorCode]),
);
/** A status travels in a header; peers limit those to some KiB. */
const MAX_MESSAGE_LENGTH = 2048;

/** The gRPC status of a failure. The message goes out (containerd shows it), cut at 2048 characters; details and cause stay here. */
export function statusOfError(error: unknown): Pick<StatusObject, "code" | "details"> {
  const { code, message } = AppError.from(error);
  const cut =
    message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH - 1)}…` : message;
  // Through UTF-8, because a lone surrogate can't be sent.
  return { code: STATUS_OF[code], details: Buffer.from(cut, "utf8").toString("utf8") };
}

/** The error that a peer's status stands for; its message is kept. A status that is none of ours, `unknown` above all, is `internal`. */
export function errorOfStatus(error: ServiceError, method: string): AppError {
  return new AppError(CODE_OF.get(error.code) ?? "internal", error.details || error.message, {
    cause: error,
    details: { method },
  });
}
