import { AppError, type ErrorCode } from "@soci-ts/core";
import type { SnapshotKind } from "./types.ts";

/** What can be under a name. */
export type SnapshotState = "absent" | SnapshotKind;

/** What can be done with a name. */
export type SnapshotOperation =
  /** `prepare` with this key. */
  | "prepare"
  /** `view` with this key. */
  | "view"
  /** A commit gives this name, or a lazy layer takes it. */
  | "name"
  /** `commit` of this key: it goes, its content stays under the name. */
  | "commit"
  /** A new snapshot names it as its parent. */
  | "extend"
  /** `mounts`: only what containers and unpackers hold is mounted by them. */
  | "mount"
  /** `remove`; refused besides while it is somebody's parent. */
  | "remove"
  /** `stat`, `usage`, `update`. */
  | "look";

type Refusal = Extract<
  ErrorCode,
  "not_found" | "already_exists" | "failed_precondition" | "invalid_argument"
>;

/** Next state, or the code of the refusal. */
type Row = Readonly<Record<SnapshotState, SnapshotState | Refusal>>;

const REFUSALS: ReadonlySet<string> = new Set<Refusal>([
  "not_found",
  "already_exists",
  "failed_precondition",
  "invalid_argument",
]);

/** The life of a snapshot. Rows: what is done with a name; columns: what is under it. Codes are those of containerd's own metastore. */
const TRANSITIONS: Readonly<Record<SnapshotOperation, Row>> = {
  prepare: {
    absent: "active",
    active: "already_exists",
    view: "already_exists",
    committed: "already_exists",
  },
  view: {
    absent: "view",
    active: "already_exists",
    view: "already_exists",
    committed: "already_exists",
  },
  name: {
    absent: "committed",
    active: "already_exists",
    view: "already_exists",
    committed: "already_exists",
  },
  commit: {
    absent: "not_found",
    active: "absent",
    view: "failed_precondition",
    committed: "failed_precondition",
  },
  extend: {
    absent: "not_found",
    active: "invalid_argument",
    view: "invalid_argument",
    committed: "committed",
  },
  mount: {
    absent: "not_found",
    active: "active",
    view: "view",
    committed: "failed_precondition",
  },
  remove: { absent: "not_found", active: "absent", view: "absent", committed: "absent" },
  look: { absent: "not_found", active: "active", view: "view", committed: "committed" },
};

const VERBS: Readonly<Record<SnapshotOperation, string>> = {
  prepare: "prepare snapshot",
  view: "make a view",
  name: "commit snapshot as",
  commit: "commit snapshot",
  extend: "use as parent snapshot",
  mount: "mount snapshot",
  remove: "remove snapshot",
  look: "find snapshot",
};

/**
 * The state that `operation` leads to from `state`; `name` is for the message.
 * @throws AppError with the code of the table where it leads nowhere.
 */
export function nextState(
  operation: SnapshotOperation,
  state: SnapshotState,
  name: string,
): SnapshotState {
  const row = TRANSITIONS[operation];
  const next = row[state];
  if (!isRefusal(next)) return next;
  const possible = Object.entries(row).filter(([, to]) => !isRefusal(to));
  const wanted = possible.map(([from]) => from).join(" or ");
  throw new AppError(
    next,
    `Cannot ${VERBS[operation]} ${JSON.stringify(name)}: it is ${state}, want ${wanted}`,
  );
}

function isRefusal(cell: SnapshotState | Refusal): cell is Refusal {
  return REFUSALS.has(cell);
}
