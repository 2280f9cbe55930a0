import { once } from "node:events";
import { startChild } from "@soci-ts/testkit";
import { peakMemoryBytes } from "../e2e/run-soci.ts";

/** What a whole process took. */
export interface MeasuredRun {
  readonly wallMs: number;
  /** Most memory that it had at a time (VmHWM, looked at every 10 ms). */
  readonly peakBytes: number;
}

const SAMPLE_MS = 10;

/** Runs a program to its end. @throws Error with its stderr if it fails. */
export async function measuredRun(file: string, args: readonly string[]): Promise<MeasuredRun> {
  const started = performance.now();
  const child = startChild(file, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, TZ: "UTC" },
  });
  let stderr = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  let peakBytes = 0;
  const sampler = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakMemoryBytes(child.pid ?? 0));
  }, SAMPLE_MS);
  try {
    await once(child, "close");
  } finally {
    clearInterval(sampler);
  }
  const wallMs = performance.now() - started;
  if (child.exitCode === 0) return { wallMs, peakBytes };
  throw new Error(`${file} ${args.join(" ")}: exit ${child.exitCode}: ${stderr.slice(-2000)}`);
}

/** The run that took neither the least nor the most time. */
export function medianRun(runs: readonly MeasuredRun[]): MeasuredRun {
  const sorted = [...runs].sort((a, b) => a.wallMs - b.wallMs);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("there was no run");
  return middle;
}
