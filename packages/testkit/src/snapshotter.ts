import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  makeProgramFolder,
  mountsBelow,
  processesNaming,
  removeProgramFolder,
  signal,
} from "./leftovers.ts";
import { command, startChild, stopChild } from "./process.ts";

const PROGRAM = fileURLToPath(
  new URL("../../../apps/snapshotter/bin/soci-snapshotter.js", import.meta.url),
);
const START_MS = 120_000;

/** What the processes of one daemon are; `keeper` holds the FUSE connection. */
export type DaemonRole = "daemon" | "keeper" | "serve-layers" | "image-worker" | "mount-helper";

const HELPERS: readonly DaemonRole[] = ["keeper", "serve-layers", "image-worker", "mount-helper"];

/** A soci-snapshotter daemon that runs as a child process. */
export interface RunningSnapshotter extends AsyncDisposable {
  readonly root: string;
  readonly socket: string;
  readonly configFile: string;
  /** Kills the process that listens with SIGKILL, and starts another one. Its helpers are not touched. */
  crash(): Promise<void>;
  /** Kills its helpers of a kind with SIGKILL; how many that were. */
  killHelpers(role: DaemonRole): Promise<number>;
  /** Kills all processes of these kinds with SIGKILL, one right after the other; the daemon is started again if it was one. How many that were. */
  kill(roles: readonly DaemonRole[]): Promise<number>;
  /** The processes of this daemon that are alive. */
  processes(): Promise<readonly { readonly pid: number; readonly role: DaemonRole }[]>;
  /** Runs another command of the program (`status`, `explain`, …) against this daemon and answers its standard output. */
  run(...args: readonly string[]): Promise<string>;
  log(): Promise<string>;
}

/**
 * Starts a daemon with folders of its own.
 * @param config - its configuration in TOML, without `root` and `address`.
 */
export async function startSnapshotter(config: string): Promise<RunningSnapshotter> {
  const folder = await makeProgramFolder("soci-daemon");
  const root = join(folder, "root");
  const socket = join(folder, "s.sock");
  const configFile = join(folder, "config.toml");
  const logFile = join(folder, "log");
  await writeFile(configFile, config);
  const where = ["--root", root, "--address", socket, "--config", configFile];
  const start = async (): Promise<ChildProcess> => {
    const output = openSync(logFile, "a");
    const started = startChild(PROGRAM, [...where, "--log-level", "debug"], {
      stdio: ["ignore", output, output],
    });
    closeSync(output);
    await listening(socket, () => started.exitCode === null);
    return started;
  };
  const log = (): Promise<string> => readFile(logFile, "utf8");
  const run = async (...args: readonly string[]): Promise<string> =>
    (await command(process.execPath, [PROGRAM, ...where, ...args])).stdout;
  let child: ChildProcess;
  try {
    child = await start();
  } catch (error) {
    const told = (await log()).slice(-4000);
    await removeProgramFolder(folder);
    throw new Error(`Cannot start soci-snapshotter: ${told}`, { cause: error });
  }
  const processes = (): Promise<readonly { pid: number; role: DaemonRole }[]> =>
    processesOf(root, child.pid ?? 0);
  const kill = async (roles: readonly DaemonRole[]): Promise<number> => {
    const doomed = (await processes()).filter(({ role }) => roles.includes(role));
    const old = child;
    const gone = once(old, "exit");
    const killed = doomed.filter(({ pid }) => signal(pid, "SIGKILL")).length;
    if (!doomed.some(({ pid }) => pid === old.pid)) return killed;
    await gone;
    child = await start();
    return killed;
  };
  return {
    ...{ root, socket, configFile, run, log, processes, kill },
    killHelpers: (role) => kill([role]),
    async crash() {
      await kill(["daemon"]);
    },
    async [Symbol.asyncDispose]() {
      await run("drain").catch(() => undefined); // what is left is killed
      await stopChild(child);
      await removeProgramFolder(folder);
      await rm(runtimeDirectory(root), { recursive: true, force: true });
    },
  };
}

/** Told apart by the word that each helper is started with. */
async function processesOf(
  root: string,
  daemon: number,
): Promise<readonly { pid: number; role: DaemonRole }[]> {
  const found: { pid: number; role: DaemonRole }[] = [];
  for (const role of HELPERS) {
    const pids = await processesNaming(`--root\0${root}\0`, `\0${role}\0`);
    found.push(...pids.map((pid) => ({ pid, role })));
  }
  const others = await processesNaming(`--root\0${root}\0`);
  if (others.includes(daemon)) found.push({ pid: daemon, role: "daemon" });
  return found;
}

/** Where a daemon's processes find each other. It stays when they are killed, until the next boot. */
function runtimeDirectory(root: string): string {
  const id = createHash("sha256").update(root).digest("hex").slice(0, 8);
  return join("/run/soci-snapshotter", id);
}

/** Mounts that a daemon has made, by file system: how many of each type there are below its root. */
export async function snapshotterMounts(root: string): Promise<Readonly<Record<string, number>>> {
  const points = new Set(await mountsBelow(root));
  const counts: Record<string, number> = {};
  for (const line of (await readFile("/proc/self/mountinfo", "utf8")).split("\n")) {
    const [place = "", source = ""] = line.split(" - ");
    if (!points.has(place.split(" ")[4] ?? "")) continue;
    const type = source.split(" ")[0] ?? "";
    counts[type] = (counts[type] ?? 0) + 1;
  }
  return counts;
}

async function listening(socket: string, isAlive: () => boolean): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline && isAlive()) {
    if (await connects(socket)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens at ${socket}`);
}

async function connects(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(socket, () => {
      client.destroy();
      resolve(true);
    });
    client.on("error", () => resolve(false));
  });
}
