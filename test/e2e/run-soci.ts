import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { startChild } from "@soci-ts/testkit";
import { SOCI_PROGRAM } from "./soci-command.ts";

/** What a run of the real program left, whether or not it succeeded. */
export interface SociRun {
  readonly exitCode: number | null;
  /** The document that `--json` printed. */
  readonly document: Readonly<Record<string, unknown>>;
  /** The error in it; empty texts if there is none. */
  readonly error: { readonly code: string; readonly message: string };
  readonly stderr: string;
  /** Most memory that the process had at a time (VmHWM). */
  readonly peakBytes: number;
  readonly tookMs: number;
}

/** What no message for people holds. */
export const STACK_TRACE: RegExp = /^\s+at .*[:(]/m;

const TIMEOUT_MS = 600_000;
const SAMPLE_MS = 20;
const NO_ERROR = { code: "", message: "" };

/** Runs `soci --root ROOT --json …` to its end, in an environment of its own; never rejects because it failed. */
export async function runSoci(root: string, ...args: readonly string[]): Promise<SociRun> {
  const started = performance.now();
  const child = startChild(process.execPath, [SOCI_PROGRAM, "--root", root, "--json", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], HOME: "/nonexistent" },
  });
  let peakBytes = 0;
  const sampler = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakMemoryBytes(child.pid ?? 0));
  }, SAMPLE_MS);
  const deadline = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  try {
    const [stdout, stderr] = await Promise.all([
      textOf(child.stdout),
      textOf(child.stderr),
      once(child, "close"),
    ]);
    const document = documentIn(stdout);
    const error = (document["error"] as SociRun["error"] | undefined) ?? NO_ERROR;
    const tookMs = performance.now() - started;
    return { exitCode: child.exitCode, document, error, stderr, peakBytes, tookMs };
  } finally {
    clearInterval(sampler);
    clearTimeout(deadline);
  }
}

/** The most memory that a living process has had; 0 if it is gone. */
export function peakMemoryBytes(pid: number): number {
  try {
    const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0; // it ended
  }
}

async function textOf(stream: Readable | null): Promise<string> {
  let text = "";
  for await (const piece of stream ?? []) text += String(piece);
  return text;
}

function documentIn(stdout: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  } catch {
    return {}; // killed, or not a word
  }
}
