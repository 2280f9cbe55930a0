import assert from "node:assert/strict";
import { test } from "node:test";
import { type ActivationVariables, activatedSocket } from "./socket-activation.ts";

const found: readonly (readonly [string, ActivationVariables, number | undefined])[] = [
  ["nothing set", {}, undefined],
  ["another process", { LISTEN_PID: "41", LISTEN_FDS: "1" }, undefined],
  ["no socket", { LISTEN_PID: "42", LISTEN_FDS: "0" }, undefined],
  ["one without a name", { LISTEN_PID: "42", LISTEN_FDS: "1" }, 3],
  ["one by its unit's name", { LISTEN_PID: "42", LISTEN_FDS: "1", LISTEN_FDNAMES: "x.socket" }, 3],
  ["one of two", { LISTEN_PID: "42", LISTEN_FDS: "2", LISTEN_FDNAMES: "metrics:grpc" }, 4],
];
for (const [name, variables, expected] of found) {
  test(`activatedSocket() of ${name} is ${expected}`, () => {
    assert.equal(activatedSocket(variables, 42, "grpc"), expected);
  });
}

const refused: readonly (readonly [string, ActivationVariables])[] = [
  ["a PID that is none", { LISTEN_PID: "x", LISTEN_FDS: "1" }],
  ["a count that is none", { LISTEN_PID: "42", LISTEN_FDS: "-1" }],
  ["too many", { LISTEN_PID: "42", LISTEN_FDS: "1025" }],
  ["two without names", { LISTEN_PID: "42", LISTEN_FDS: "2" }],
  ["two with other names", { LISTEN_PID: "42", LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b" }],
  ["two with the same name", { LISTEN_PID: "42", LISTEN_FDS: "2", LISTEN_FDNAMES: "grpc:grpc" }],
  ["fewer names than sockets", { LISTEN_PID: "42", LISTEN_FDS: "2", LISTEN_FDNAMES: "grpc" }],
];
for (const [name, variables] of refused) {
  test(`activatedSocket() refuses ${name}`, () => {
    assert.throws(() => activatedSocket(variables, 42, "grpc"), { code: "invalid_argument" });
  });
}
