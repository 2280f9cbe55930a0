import { type ChildProcess, spawn } from "node:child_process";

/** What became of a reader. */
export interface ReaderResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

/** A child that looks into a mount: the test process must not, since it may serve what the mount reads from. */
export interface Reader {
  readonly child: ChildProcess;
  readonly result: Promise<ReaderResult>;
}

/** What a file in a mount is, next to what it should be; or why it could not be read. */
export type Comparison = "equal" | "DIFFERENT" | `error: ${string}`;

const TIMEOUT_MS = 90_000;

/**
 * Starts a program whose messages are in English; it is killed after a minute and a half. By way of another program: to start one, Node
 * waits for execve(2), which reads the program itself, maybe from a mount that waits for this process.
 */
export function startReader(program: string, ...args: readonly string[]): Reader {
  const started = performance.now();
  const child = spawn("env", [program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (bytes: Buffer) => {
    stdout += bytes.toString("latin1");
  });
  child.stderr.on("data", (bytes: Buffer) => {
    stderr += bytes.toString("latin1");
  });
  const result = new Promise<ReaderResult>((resolve) => {
    const end = (exitCode: number | null, signal: NodeJS.Signals | null): void =>
      resolve({ exitCode, signal, stdout, stderr, tookMs: performance.now() - started });
    child.on("error", (error) => {
      stderr += error.message;
      end(null, null);
    });
    child.on("close", end);
  });
  return { child, result };
}

/** Reads a file of a mount from start to end by read(2) and compares each byte. */
export async function compareFile(mounted: string, original: string): Promise<Comparison> {
  const { exitCode, signal, stderr } = await startReader("cmp", mounted, original).result;
  if (exitCode === 0) return "equal";
  // 1 is for a difference, the end of one file included; 2 for trouble.
  if (exitCode === 1) return "DIFFERENT";
  return `error: ${signal ?? stderr.trim().split(": ").at(-1)}`;
}
