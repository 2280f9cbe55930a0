// Images of Debian packages indexed by this project's `soci` and, where it is on the PATH as `soci-reference`, by the reference (its `convert
// --standalone`, which also copies the layers), in turn, as whole processes, from a layout directory. Also says whether both made the same ztocs.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, debianSkipReason, hasProgram } from "@soci-ts/testkit";
import { imageLayout } from "../e2e/node-images.ts";
import { SOCI_PROGRAM } from "../e2e/soci-command.ts";
import { BUILD_IMAGES } from "./build-images.ts";
import { type MeasuredRun, measuredRun, medianRun } from "./measured-run.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

const RUNS = 3;
const REFERENCE = "soci-reference";
const MIN_LAYER_SIZE = ["--min-layer-size", "0"];

const hasReference = hasProgram(REFERENCE);
const skip = await debianSkipReason();
if (skip === false) await compareAll();
else console.log(`  ${skip}`);

async function compareAll(): Promise<void> {
  const rows: string[][] = [];
  for (const image of BUILD_IMAGES) {
    const { directory, layers } = await imageLayout(image);
    const bytes = layers.reduce((sum, { size }) => sum + size, 0);
    rows.push(
      ...(await compare(`${image.name}, ${(bytes / 1e6).toFixed(0)} MB`, directory, bytes)),
    );
  }
  printTable([`median of ${RUNS}`, "s", "MB/s in", "peak MB", "times as fast", "same ztocs"], rows);
  if (!hasReference) console.log(`  ${REFERENCE} is not on the PATH: nothing to compare with`);
}

async function compare(name: string, layout: string, bytes: number): Promise<string[][]> {
  const work = await mkdtemp(join(tmpdir(), "soci-bench-"));
  const ours: MeasuredRun[] = [];
  const theirs: MeasuredRun[] = [];
  try {
    for (let run = 0; run < RUNS; run += 1) {
      ours.push(await runOurs(join(work, `ours-${run}`), layout));
      if (hasReference) theirs.push(await runReference(layout, join(work, `theirs-${run}`)));
    }
    const [mine] = [medianRun(ours)];
    if (!hasReference) return [row(name, "soci create", mine, bytes)];
    const reference = medianRun(theirs);
    const ratio = (reference.wallMs / mine.wallMs).toFixed(2);
    return [
      [...row(name, "soci create", mine, bytes), ratio, await sharedZtocs(work)],
      row(name, REFERENCE, reference, bytes),
    ];
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function runOurs(root: string, layout: string): Promise<MeasuredRun> {
  const args = ["--root", root, "create", ...MIN_LAYER_SIZE, `oci:${layout}`];
  return measuredRun(SOCI_PROGRAM, args);
}

function runReference(layout: string, output: string): Promise<MeasuredRun> {
  const options = ["--standalone", ...MIN_LAYER_SIZE, "--format", "oci-dir"];
  return measuredRun(REFERENCE, ["convert", ...options, layout, output]);
}

function row(image: string, program: string, run: MeasuredRun, bytes: number): string[] {
  return [
    `${image}: ${program}`,
    (run.wallMs / 1000).toFixed(2),
    megabytesPerSecond(bytes, run.wallMs),
    (run.peakBytes / 1e6).toFixed(0),
  ];
}

/** How many of our ztocs the reference's result holds too. */
async function sharedZtocs(work: string): Promise<string> {
  const list = ["--root", join(work, "ours-0"), "--json", "ztoc", "ls"];
  const { stdout } = await command(process.execPath, [SOCI_PROGRAM, ...list]);
  const ztocs = JSON.parse(stdout) as readonly { readonly digest: string }[];
  const theirs = new Set(await readdir(join(work, "theirs-0/blobs/sha256")));
  const shared = ztocs.filter(({ digest }) => theirs.has(digest.slice("sha256:".length)));
  return `${shared.length} of ${ztocs.length}`;
}
