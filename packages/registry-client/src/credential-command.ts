import { AppError, SingleFlight } from "@soci-ts/core";
import { helperServer } from "./credential-names.ts";
import { askProgram, type ProgramArguments } from "./credential-program.ts";
import { type Credential, type CredentialSource, isRefused } from "./credentials.ts";

/** Which command to run. */
export interface CommandCredentialsOptions {
  /** The program and its arguments; `get` is added. No shell. */
  readonly argv: readonly string[];
  /** How long it may take, in milliseconds (default 10 000). */
  readonly timeoutMs?: number | undefined;
  /** How long its answer for a registry is good, in milliseconds (default 0: it is run for each login). */
  readonly cacheMs?: number | undefined;
  /** Its environment; default: this process's. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

const MOST_KEPT = 256;

interface Kept {
  readonly credential: Credential | undefined;
  readonly untilMs: number;
}

/**
 * Credentials that a command gives by the protocol of docker-credential-helpers: `get`, the server on standard input, JSON
 * with Username and Secret back. A credential that was kept and is refused makes it run again.
 * @throws AppError `invalid_argument` if `argv` names no program; later `failed_precondition` or `deadline_exceeded`, never
 *   with what the command printed or was given.
 */
export function commandCredentials(options: CommandCredentialsOptions): CredentialSource {
  const [program, ...more] = options.argv;
  if (program === undefined || program === "") {
    throw new AppError("invalid_argument", "Cannot use credential command: it is empty, want argv");
  }
  const argv: ProgramArguments = [program, ...more];
  const label = `credential command ${JSON.stringify(program)}`;
  const { cacheMs = 0, timeoutMs, environment } = options;
  const kept = new Map<string, Kept>();
  const runs = new SingleFlight<Credential | undefined>();
  return {
    async find(registry, _repository, io) {
      const server = helperServer(registry);
      const known = kept.get(server);
      const isGood = known !== undefined && known.untilMs > Date.now();
      const isStale = known?.credential !== undefined && isRefused(known.credential, io);
      if (isGood && !isStale) return known.credential;
      const ask = (signal: AbortSignal): Promise<Credential | undefined> =>
        askProgram(argv, server, { label, timeoutMs, environment, signal });
      const credential = await runs.do(server, ask, io?.signal);
      if (kept.size >= MOST_KEPT) kept.clear();
      if (cacheMs > 0) kept.set(server, { credential, untilMs: Date.now() + cacheMs });
      return credential;
    },
  };
}
