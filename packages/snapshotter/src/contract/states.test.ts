import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "@soci-ts/core";
import { nextState, type SnapshotOperation, type SnapshotState } from "./states.ts";

const STATES: readonly SnapshotState[] = ["absent", "active", "view", "committed"];

/** What containerd's own metastore answers, in the order of STATES. */
const EXPECTED: Readonly<Record<SnapshotOperation, readonly string[]>> = {
  prepare: ["active", "already_exists", "already_exists", "already_exists"],
  view: ["view", "already_exists", "already_exists", "already_exists"],
  name: ["committed", "already_exists", "already_exists", "already_exists"],
  commit: ["not_found", "absent", "failed_precondition", "failed_precondition"],
  extend: ["not_found", "invalid_argument", "invalid_argument", "committed"],
  mount: ["not_found", "active", "view", "failed_precondition"],
  remove: ["not_found", "absent", "absent", "absent"],
  look: ["not_found", "active", "view", "committed"],
};

test("nextState() answers the state, or throws the code, of every cell", () => {
  for (const [operation, row] of Object.entries(EXPECTED)) {
    const answers = STATES.map((state) => answer(operation as SnapshotOperation, state));
    assert.deepEqual(answers, row, operation);
  }
});

test("nextState() says what it found and what it wants", () => {
  assert.throws(() => nextState("commit", "view", "a b"), {
    message: 'Cannot commit snapshot "a b": it is view, want active',
  });
});

function answer(operation: SnapshotOperation, state: SnapshotState): string {
  try {
    return nextState(operation, state, "x");
  } catch (error) {
    return AppError.from(error).code;
  }
}
