import { spawn } from "node:child_process";
import { AppError, concatBytes } from "@soci-ts/core";
import type { Credential } from "./credentials.ts";
import { HELPER_OUTPUT_LIMIT_BYTES } from "./limits.ts";

const DEFAULT_TIMEOUT_MS = 10_000;
/** The user name by which a helper says that its secret is a refresh token. */
const IDENTITY_TOKEN_USER = "<token>";

/** How to ask a helper. */
export interface HelperOptions {
  /** The file that names the helper, for errors. */
  readonly file: string;
  readonly timeoutMs?: number | undefined;
  readonly environment?: NodeJS.ProcessEnv | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The credential that `docker-credential-NAME get` gives for a server; undefined if it has none. The server's name goes to
 * its standard input. What it prints is never part of an error.
 * @throws AppError `failed_precondition` if it is missing or fails, `deadline_exceeded` if it takes too long.
 */
export async function askHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<Credential | undefined> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) {
    throw failure(options, name, "its name is not made of letters, digits and . _ - only");
  }
  const { exitCode, output } = await runHelper(name, server, options);
  if (exitCode !== 0) {
    if (/credentials not found|no credentials server url/i.test(output)) return undefined;
    throw failure(options, name, `it ended with code ${exitCode}, want 0`);
  }
  return parseHelperOutput(output) ?? fail(failure(options, name, "its output is not understood"));
}

function parseHelperOutput(output: string): Credential | undefined {
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

interface HelperResult {
  readonly exitCode: number | null;
  readonly output: string;
}

function runHelper(name: string, server: string, options: HelperOptions): Promise<HelperResult> {
  const { signal, environment, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(`docker-credential-${name}`, ["get"], {
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
      const text = `Cannot ask docker-credential-${name}: no answer within ${timeoutMs} ms`;
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
      stop(failure(options, name, `it prints more than ${HELPER_OUTPUT_LIMIT_BYTES} bytes`));
    });
    child.stdin.on("error", () => {
      // It may end without reading; its exit code tells.
    });
    child.stdin.end(`${server}\n`);
    child.on("error", (error: NodeJS.ErrnoException) => {
      done();
      reject(failure(options, name, startProblem(error)));
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

function failure(options: HelperOptions, name: string, problem: string): AppError {
  return new AppError(
    "failed_precondition",
    `Cannot ask docker-credential-${JSON.stringify(name.slice(0, 128)).slice(1, -1)}, named in ${options.file}: ${problem}`,
  );
}

function fail(error: AppError): never {
  throw error;
}
