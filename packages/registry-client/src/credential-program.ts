import { spawn } from "node:child_process";
import { AppError, concatBytes } from "@soci-ts/core";
import type { Credential } from "./credentials.ts";
import { HELPER_OUTPUT_LIMIT_BYTES } from "./limits.ts";

const DEFAULT_TIMEOUT_MS = 10_000;
/** The user name by which a helper says that its secret is a refresh token. */
const IDENTITY_TOKEN_USER = "<token>";

/** A program and the arguments that come before `get`. */
export type ProgramArguments = readonly [program: string, ...more: string[]];

/** How to ask a program for credentials. */
export interface ProgramOptions {
  /** What it is called in errors. */
  readonly label: string;
  /** How long it may take, in milliseconds (default 10 000). */
  readonly timeoutMs?: number | undefined;
  /** Default: this process's. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The credential that a program gives for a server, by the protocol of docker-credential-helpers; undefined if it has none.
 * It is run with `get` as its last argument and the server's name on its standard input. What it prints is never part of an error.
 * @throws AppError `failed_precondition` if it is missing or fails, `deadline_exceeded` if it takes too long.
 */
export async function askProgram(
  argv: ProgramArguments,
  server: string,
  options: ProgramOptions,
): Promise<Credential | undefined> {
  const { exitCode, output } = await runProgram(argv, server, options);
  if (exitCode !== 0) {
    if (/credentials not found|no credentials server url/i.test(output)) return undefined;
    throw programFailure(options.label, `it ended with code ${exitCode}, want 0`);
  }
  const credential = parseOutput(output);
  if (credential !== undefined) return credential;
  throw programFailure(options.label, "its output is not understood");
}

/** An error about a program. */
export function programFailure(label: string, problem: string): AppError {
  return new AppError("failed_precondition", `Cannot ask ${label}: ${problem}`);
}

function parseOutput(output: string): Credential | undefined {
  let document: unknown;
  try {
    document = JSON.parse(output);
  } catch {
    // V8's message quotes the output, which is a secret.
    return undefined;
  }
  if (typeof document !== "object" || document === null) return undefined;
  const { Username: username, Secret: secret } = document as Record<string, unknown>;
  if (typeof username !== "string" || typeof secret !== "string") return undefined;
  return username === IDENTITY_TOKEN_USER
    ? { kind: "identity", refreshToken: secret }
    : { kind: "basic", username, password: secret };
}

interface ProgramResult {
  readonly exitCode: number | null;
  readonly output: string;
}

function runProgram(
  argv: ProgramArguments,
  server: string,
  options: ProgramOptions,
): Promise<ProgramResult> {
  const { signal, environment, label, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const [program, ...more] = argv;
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...more, "get"], {
      stdio: ["pipe", "pipe", "ignore"],
      ...(environment !== undefined && { env: environment }),
    });
    const stop = (error: unknown): void => {
      child.kill("SIGKILL");
      // A grandchild may hold the pipe open.
      child.stdout.destroy();
      reject(error);
    };
    const onAbort = (): void => stop(signal?.reason);
    const timer = setTimeout(() => {
      const text = `Cannot ask ${label}: no answer within ${timeoutMs} ms`;
      stop(new AppError("deadline_exceeded", text));
    }, timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const pieces: Uint8Array[] = [];
    let length = 0;
    child.stdout.on("data", (piece: Uint8Array) => {
      length += piece.length;
      pieces.push(piece);
      if (length <= HELPER_OUTPUT_LIMIT_BYTES) return;
      stop(programFailure(label, `it prints more than ${HELPER_OUTPUT_LIMIT_BYTES} bytes`));
    });
    child.stdin.on("error", () => {
      // It may end without reading; its exit code tells.
    });
    child.stdin.end(`${server}\n`);
    child.on("error", (error: NodeJS.ErrnoException) => {
      done();
      reject(programFailure(label, startProblem(error)));
    });
    child.on("close", (exitCode) => {
      done();
      resolve({ exitCode, output: Buffer.from(concatBytes(pieces)).toString("utf8") });
    });
  });
}

function startProblem(error: NodeJS.ErrnoException): string {
  return error.code === "ENOENT" ? "it is not on the PATH" : `it cannot be started (${error.code})`;
}
