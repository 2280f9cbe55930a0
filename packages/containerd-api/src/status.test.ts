import assert from "node:assert/strict";
import { test } from "node:test";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { AppError, type ErrorCode } from "@soci-ts/core";
import { errorOfStatus, statusOfError } from "./status.ts";

const PAIRS: readonly (readonly [ErrorCode, status])[] = [
  ["cancelled", 1],
  ["invalid_argument", 3],
  ["deadline_exceeded", 4],
  ["not_found", 5],
  ["already_exists", 6],
  ["permission_denied", 7],
  ["resource_exhausted", 8],
  ["failed_precondition", 9],
  ["aborted", 10],
  ["out_of_range", 11],
  ["unimplemented", 12],
  ["internal", 13],
  ["unavailable", 14],
  ["data_loss", 15],
  ["unauthenticated", 16],
];

for (const [code, number] of PAIRS) {
  test(`${code} is status ${number}, both ways`, () => {
    assert.equal(statusOfError(new AppError(code, "so it is")).code, number);
    assert.equal(errorOfStatus(serviceError(number, "so it is"), "/s/M").code, code);
  });
}

test("statusOfError() sends the message and nothing else of an error", () => {
  const cause = new Error("cause: password=hunter2");
  const error = new AppError("not_found", "Cannot find it", { cause, details: { token: "t" } });
  assert.deepEqual(statusOfError(error), { code: status.NOT_FOUND, details: "Cannot find it" });
});

test("statusOfError() takes what is no AppError as internal, and aborts as cancelled", () => {
  assert.deepEqual(statusOfError(new TypeError("x is not a function")), {
    code: status.INTERNAL,
    details: "x is not a function",
  });
  assert.equal(statusOfError(AbortSignal.abort().reason).code, status.CANCELLED);
});

test("statusOfError() makes a message fit for a header when it is long or has half a character", () => {
  const { details } = statusOfError(new AppError("internal", "\u{1F40B}".repeat(3000)));
  assert.ok(details.length <= 2048);
  // What grpc-js does with it; half a pair throws.
  assert.doesNotThrow(() => encodeURI(details));
});

test("errorOfStatus() keeps the message, and takes unknown for internal", () => {
  const error = errorOfStatus(serviceError(status.UNKNOWN, "no such runtime"), "/s/M");
  assert.equal(error.code, "internal");
  assert.equal(error.message, "no such runtime");
  assert.deepEqual(error.details, { method: "/s/M" });
});

function serviceError(code: status, details: string): ServiceError {
  return Object.assign(new Error(`${code}: ${details}`), {
    code,
    details,
    metadata: new Metadata(),
  });
}
