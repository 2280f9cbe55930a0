import { readdir, readFile } from "node:fs/promises";
import { command } from "./process.ts";

const GONE_WITHIN_MS = 10_000;

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

/** Processes whose command line holds a text that no other command line has (such as a folder made for one test). */
export async function processesNaming(text: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const line = await readFile(`/proc/${name}/cmdline`, "latin1").catch(() => ""); // ended
    if (line.includes(text)) found.push(pid);
  }
  return found;
}

/** Kills the processes whose command line holds `text`, with all that descend from them, and waits until they are gone. */
export async function killNaming(text: string): Promise<void> {
  const roots = await processesNaming(text);
  const all = new Set(roots);
  for (const pid of all) for (const child of await childrenOf(pid)) all.add(child);
  for (const pid of all) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
  const deadline = Date.now() + GONE_WITHIN_MS;
  while ((await processesNaming(text)).length > 0) {
    if (Date.now() > deadline) throw new Error(`Cannot end the processes of ${text}: still there`);
    await new Promise((resolve) => setTimeout(resolve, 20));
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
