import { writeFileSync } from "node:fs";
import type { Role } from "./processes.ts";

/**
 * `oom_score_adj` of proc_pid_oom_score_adj(5): whom the kernel ends first for want of memory. All mounts hang on the keeper; another server is soon
 * there; the daemon's restart is noticed by those who pull only; a worker's end costs one image's start.
 */
const OOM_SCORES: Readonly<Record<Exclude<Role, "serve-mount"> | "daemon", number>> = {
  keeper: -999,
  "serve-layers": -950,
  daemon: -900,
  "mount-helper": -500,
  "image-worker": 300,
};

/** Sets this process's score. Where that is not permitted, in a container, the one that it was started with holds. */
export function adjustOomScore(role: keyof typeof OOM_SCORES): void {
  try {
    writeFileSync("/proc/self/oom_score_adj", String(OOM_SCORES[role]));
  } catch {
    // see above
  }
}
