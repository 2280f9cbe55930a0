import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("../../bin/soci-referrers.js", import.meta.url));

/** The program as a child process. */
export interface Program extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** What it has written to stderr. */
  log(): string;
  /** Ends it with a signal and waits; gives its exit code, null if the signal killed it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts the program on a free port; `args` come after `--root`. Rejects with its stderr if it ends instead of listening. */
export async function startProgram(root: string, args: readonly string[] = []): Promise<Program> {
  const all = [PROGRAM, "--root", root, "--listen", "127.0.0.1:0", "--log-level", "warn", ...args];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "close");
  let stderr = "";
  child.stderr.on("data", (text: Buffer) => {
    stderr += text.toString();
  });
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, "line"), exited]);
  const url = /^listening on (http:\S+)$/.exec(String(first[0]))?.[1];
  if (url === undefined) throw new Error(`the program ended: ${stderr}`);
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (isRunning(child)) child.kill(signal);
    await exited;
    return child.exitCode;
  };
  return {
    url,
    pid: child.pid ?? 0,
    log: () => stderr,
    end,
    [Symbol.asyncDispose]: async () => {
      await end("SIGKILL");
    },
  };
}

/** Runs the program to its end. */
export async function runProgram(
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit");
  const [stdout, stderr] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()]);
  await exited;
  return {
    code: child.exitCode,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
