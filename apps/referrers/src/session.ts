import type { Config, GlobalFlags, Surroundings } from "./config.ts";

/** What a command has to say: one JSON document, and the same for people. */
export interface Report {
  readonly json: unknown;
  readonly text: string;
  /** True if the report is of a failure (`config check`): the process ends with 1. */
  readonly isFailed?: boolean;
}

/** What a command is run with. */
export interface Session {
  readonly flags: GlobalFlags;
  readonly surroundings: Surroundings;
  /** Aborts with the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** The configuration. @throws AppError `invalid_argument` with all faults. */
  config(): Config;
}

/** What a command does, once it is loaded. `undefined`: there is nothing to print. */
export type Action = (session: Session) => Promise<Report | undefined>;

/** Runs an action within a session; a parameter, so that the tree of commands can be walked without one. */
export type Runner = (action: Action) => Promise<void>;
