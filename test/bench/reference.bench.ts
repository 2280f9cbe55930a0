// The same two layers indexed by this project's `soci` and, where it is on the PATH as `soci-reference`, by the reference
// (its `convert --standalone`), in turn, as whole processes. Also says whether both made the same ztocs.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { command, hasProgram, layerOf, writeLayout } from "@soci-ts/testkit";
import { SOCI_PROGRAM } from "../e2e/soci-command.ts";
import { sampleLayer } from "./sample-layer.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

const RUNS = 3;
const REFERENCE = "soci-reference";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";

const work = await mkdtemp(join(tmpdir(), "soci-bench-"));
try {
  await compare();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function compare(): Promise<void> {
  const layout = join(work, "layout");
  const samples = [await sampleLayer(600), await sampleLayer(100)];
  const blobs = await Promise.all(samples.map(({ gzip }) => readFile(gzip)));
  await writeLayout(
    layout,
    blobs.map((blob) => layerOf(gunzipSync(blob), blob, LAYER_TYPE)),
  );
  const bytes = blobs.reduce((sum, { length }) => sum + length, 0);
  const ours: number[] = [];
  const theirs: number[] = [];
  const hasReference = hasProgram(REFERENCE);
  for (let run = 0; run < RUNS; run += 1) {
    ours.push(
      await timed(
        ["--root", join(work, `ours-${run}`), "create", "--min-layer-size", "0", `oci:${layout}`],
        process.execPath,
        SOCI_PROGRAM,
      ),
    );
    if (hasReference)
      theirs.push(
        await timed(
          [
            "convert",
            "--standalone",
            "--min-layer-size",
            "0",
            "--format",
            "oci-dir",
            layout,
            join(work, `theirs-${run}`),
          ],
          REFERENCE,
        ),
      );
  }
  const rows = [row("soci create", median(ours), bytes)];
  if (hasReference) rows.push(row(`${REFERENCE} convert`, median(theirs), bytes));
  printTable(["whole process, median of 3", "s", "MB/s in"], rows);
  if (!hasReference) console.log(`  ${REFERENCE} is not on the PATH: nothing to compare with`);
  else {
    console.log(
      `  ${(median(theirs) / median(ours)).toFixed(2)} x as fast as the reference; ztocs in both results: ${await sharedZtocs()} of ${samples.length}`,
    );
  }
}

async function timed(args: readonly string[], ...program: string[]): Promise<number> {
  const [file = "", ...first] = program;
  const started = performance.now();
  await command(file, [...first, ...args], { env: { ...process.env, TZ: "UTC" } });
  return performance.now() - started;
}

function row(name: string, wallMs: number, bytes: number): string[] {
  return [name, (wallMs / 1000).toFixed(2), megabytesPerSecond(bytes, wallMs)];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** How many of our ztocs the reference's result holds too. */
async function sharedZtocs(): Promise<number> {
  const { stdout } = await command(process.execPath, [
    SOCI_PROGRAM,
    "--root",
    join(work, "ours-0"),
    "--json",
    "ztoc",
    "ls",
  ]);
  const ztocs = JSON.parse(stdout) as readonly { readonly digest: string }[];
  const theirs = new Set(await readdir(join(work, "theirs-0/blobs/sha256")));
  return ztocs.filter(({ digest }) => theirs.has(digest.slice("sha256:".length))).length;
}
