// How soon the command is there: whole processes that do next to nothing, beside a Node that does nothing.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SOCI_PROGRAM } from "../e2e/soci-command.ts";
import { type MeasuredRun, measuredRun, medianRun } from "./measured-run.ts";
import { printTable } from "./table.ts";

const RUNS = 15;

const root = await mkdtemp(join(tmpdir(), "soci-bench-"));
try {
  const rows: string[][] = [];
  for (const [name, args] of [
    ["node, nothing", ["--eval", "0"]],
    ["soci --help", [SOCI_PROGRAM, "--help"]],
    ["soci index ls, empty store", [SOCI_PROGRAM, "--root", join(root, "store"), "index", "ls"]],
  ] as const) {
    const runs: MeasuredRun[] = [];
    for (let run = 0; run < RUNS; run += 1) runs.push(await measuredRun(process.execPath, args));
    const { wallMs, peakBytes } = medianRun(runs);
    rows.push([name, wallMs.toFixed(0), (peakBytes / 1e6).toFixed(0)]);
  }
  printTable([`start-up, median of ${RUNS}`, "ms", "peak MB"], rows);
} finally {
  await rm(root, { recursive: true, force: true });
}
