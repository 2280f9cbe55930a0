import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "./process.ts";

const GONE_WITHIN_MS = 10_000;

/**
 * Makes a folder for programs that may outlive this process, if it is killed. What runs or is mounted in the folders of earlier, dead
 * processes goes first. Users of a container may pass through it.
 * @param name - what the folder's name starts with.
 */
export async function makeProgramFolder(name: string): Promise<string> {
  const pattern = new RegExp(`^${name}-(\\d+)-`);
  for (const entry of await readdir(tmpdir())) {
    const pid = Number(pattern.exec(entry)?.[1]);
    if (pid > 0 && !isAlive(pid)) await removeProgramFolder(join(tmpdir(), entry));
  }
  const folder = await mkdtemp(join(tmpdir(), `${name}-${process.pid}-`));
  await chmod(folder, 0o711);
  return folder;
}

/** Ends every process that names something in the folder, takes away its mounts, deletes it. */
export async function removeProgramFolder(folder: string): Promise<void> {
  await killNaming(`${folder}/`);
  await unmountBelow(folder);
  await removeTree(folder);
}

/** Deletes a folder, also what was made immutable in it: files that a killed daemon had mounted. */
export async function removeTree(folder: string): Promise<void> {
  await command("chattr", ["-R", "-f", "-i", folder]).catch(() => {}); // some file systems have no such thing
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** Mount points at or below a folder, the innermost first. */
export async function mountsBelow(folder: string): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .reverse();
}

/** Takes away every mount at or below a folder, busy or not. */
export async function unmountBelow(folder: string): Promise<void> {
  for (const point of await mountsBelow(folder)) {
    // One that is gone already went with another.
    await command("umount", ["-l", point]).catch(() => undefined);
  }
}

/** Processes whose command line, each word ended by a NUL, holds all of these texts (such as a folder made for one test). */
export async function processesNaming(...texts: readonly string[]): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const line = await readFile(`/proc/${name}/cmdline`, "latin1").catch(() => ""); // ended
    if (texts.every((text) => line.includes(text))) found.push(pid);
  }
  return found;
}

/** Kills the processes whose command line holds `text`, with all that descend from them, and waits until they are gone. */
export async function killNaming(text: string): Promise<void> {
  const roots = await processesNaming(text);
  const all = new Set(roots);
  for (const pid of all) for (const child of await childrenOf(pid)) all.add(child);
  for (const pid of all) signal(pid, "SIGKILL");
  const deadline = Date.now() + GONE_WITHIN_MS;
  while ((await processesNaming(text)).length > 0) {
    if (Date.now() > deadline) throw new Error(`Cannot end the processes of ${text}: still there`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isAlive(pid: number): boolean {
  return signal(pid, 0);
}

/** Sends a signal, or asks whether there is such a process with 0. False if there is none. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []); // ended
  const lists = await Promise.all(
    threads.map((thread) =>
      readFile(`/proc/${pid}/task/${thread}/children`, "utf8").catch(() => ""),
    ),
  );
  return lists.flatMap((list) => list.split(" ").filter(Boolean).map(Number));
}
