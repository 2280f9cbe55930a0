import { spawn } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DisposeStack } from "@soci-ts/core";

/** The program as it is installed. */
export const SOCI: string = fileURLToPath(new URL("../../bin/soci.js", import.meta.url));

/** What a run of the program left. */
export interface RunResult {
  readonly exitCode: number | null;
  readonly killedBy: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** How to run it. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Sends this signal after so many milliseconds. */
  readonly signal?: { readonly name: NodeJS.Signals; readonly afterMs: number };
  readonly userId?: number;
  /** The file to run; default {@link SOCI}. */
  readonly program?: string;
  /** What it reads on stdin: bytes through a pipe, or the file of this name; nothing by default. */
  readonly stdin?: Uint8Array | string;
}

/** Runs `soci` as a child process, in an environment of its own: nothing of the caller's credentials or proxies gets in. */
export async function soci(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  await using stack = new DisposeStack();
  const child = spawn(process.execPath, [options.program ?? SOCI, ...args], {
    stdio: [await stdinOf(options.stdin, stack), "pipe", "pipe"],
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: "/nonexistent",
      ...options.env,
    },
    ...(options.userId === undefined ? {} : { uid: options.userId, gid: options.userId }),
  });
  const { signal, stdin } = options;
  if (stdin instanceof Uint8Array && child.stdin !== null) {
    child.stdin.on("error", () => {}); // The program need not read all of it.
    child.stdin.end(stdin);
  }
  const timer = signal && setTimeout(() => child.kill(signal.name), signal.afterMs);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on("data", (bytes: Buffer) => stdout.push(bytes));
  child.stderr?.on("data", (bytes: Buffer) => stderr.push(bytes));
  const [exitCode, killedBy] = await new Promise<[number | null, NodeJS.Signals | null]>(
    (resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, killer) => resolve([code, killer]));
    },
  );
  clearTimeout(timer);
  return {
    exitCode,
    killedBy,
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat(stderr).toString(),
  };
}

async function stdinOf(
  stdin: RunOptions["stdin"],
  stack: DisposeStack,
): Promise<"ignore" | "pipe" | number> {
  if (stdin === undefined) return "ignore";
  if (typeof stdin !== "string") return "pipe";
  const file = await open(stdin);
  stack.defer(() => file.close());
  return file.fd;
}

/** The JSON document that a run with `--json` printed; throws with the run's stderr if it is none. */
export function documentOf(result: RunResult): Record<string, unknown> {
  try {
    return JSON.parse(result.stdout.toString()) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`exit ${result.exitCode}, no JSON on stdout; stderr: ${result.stderr}`, {
      cause: error,
    });
  }
}

/** A folder that goes when disposed. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "soci-cli-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
