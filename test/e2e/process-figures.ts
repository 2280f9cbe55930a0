import { readdir, readFile } from "node:fs/promises";
import type { DaemonRole, RunningSnapshotter } from "@soci-ts/testkit";

/** What one process holds. */
export interface ProcessFigures {
  readonly role: DaemonRole;
  readonly pid: number;
  readonly residentBytes: number;
  readonly descriptors: number;
}

const ROLES: readonly DaemonRole[] = ["daemon", "keeper", "serve-layers"];

/** Figures of a daemon's long-lived processes, those that are alive at the moment. */
export async function processFigures(
  snapshotter: RunningSnapshotter,
): Promise<readonly ProcessFigures[]> {
  const figures = (await snapshotter.processes())
    .filter(({ role }) => ROLES.includes(role))
    .map(async ({ pid, role }): Promise<ProcessFigures | undefined> => {
      const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => ""); // ended
      const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []); // ended
      const kilobytes = /VmRSS:\s+(\d+) kB/.exec(status)?.[1];
      if (kilobytes === undefined) return undefined;
      return {
        ...{ role, pid, residentBytes: Number(kilobytes) * 1024 },
        descriptors: descriptors.length,
      };
    });
  return (await Promise.all(figures)).filter((found) => found !== undefined);
}

/** Figures as a line for people. */
export function figuresText(figures: readonly ProcessFigures[]): string {
  return figures
    .map(({ role, residentBytes, descriptors }) => {
      const megabytes = (residentBytes / 1024 / 1024).toFixed(0);
      return `${role} ${megabytes} MiB, ${descriptors} fds`;
    })
    .join("; ");
}
