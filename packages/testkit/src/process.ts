import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What a finished command left. */
export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Rejects with its stderr in the message when it fails. */
export async function command(
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<CommandResult> {
  const { timeoutMs, ...rest } = options;
  try {
    return await run(file, [...args], {
      ...rest,
      timeout: timeoutMs ?? 300_000,
      maxBuffer: 268_435_456,
    });
  } catch (error) {
    const stderr = (error as { stderr?: string }).stderr ?? "";
    throw new Error(`${file} ${args.join(" ")} failed: ${stderr.slice(-2000) || String(error)}`, {
      cause: error,
    });
  }
}

/** True if a program of this name is on the PATH or in the sbin folders. */
export function hasProgram(name: string): boolean {
  const folders = (process.env["PATH"] ?? "").split(":").concat("/usr/sbin", "/sbin");
  return folders.some((folder) => existsSync(`${folder}/${name}`));
}

/** Starts a long-running child that the kernel kills when this process ends, however it ends. */
export function startChild(
  file: string,
  args: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  return spawn("setpriv", ["--pdeathsig", "KILL", file, ...args], options);
}

/** Ends a child (SIGTERM, after five seconds SIGKILL) and waits until it is gone. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await gone;
  clearTimeout(timer);
}

/** A TCP port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("Cannot find a free port");
  return address.port;
}
