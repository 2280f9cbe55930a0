import type { Config, GlobalFlags, Surroundings } from "./config.ts";
import type { Report } from "./output.ts";

/** What a command is run with. */
export interface Session {
  readonly flags: GlobalFlags;
  readonly surroundings: Surroundings;
  /** Aborts with the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** The program's version. */
  readonly version: string;
  /** The configuration. @throws AppError `invalid_argument` with all faults. */
  config(): Config;
}

/** What a command does, once it is loaded. `undefined`: there is nothing to print. */
export type Action = (session: Session) => Promise<Report | undefined>;

/** Runs an action within a session; a parameter, so that the tree of commands can be walked without one. */
export type Runner = (action: Action) => Promise<void>;
