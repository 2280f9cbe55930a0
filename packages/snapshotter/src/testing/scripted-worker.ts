import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { delay } from "@soci-ts/core";
import type { ImageJob, WorkerMessage } from "../node/image-job.ts";

/* An image worker that does what the name of its image says: a word a step, `layers-fail`. The argument is a directory that it notes its process in. */

const [notes = ""] = process.argv.slice(2);

let jobs = 0;
// What has not ended by then hangs, until its input closes or it is killed.
createInterface({ input: process.stdin })
  .on("line", (line) => void work(JSON.parse(line) as ImageJob))
  .once("close", () => process.exit(0));

async function work(job: ImageJob): Promise<void> {
  jobs += 1;
  writeFileSync(join(notes, `${process.pid}.${jobs}`), job.directory);
  const steps = job.imageReference.replace(/^.*\//, "").split("-");
  for (const step of steps) await perform(step, job);
}

async function perform(step: string, job: ImageJob): Promise<void> {
  if (step === "layers") for (const position of [0, 1]) report(position, job);
  if (step === "layer0") report(0, job);
  if (step === "layer1") report(1, job);
  if (step === "wait") while (!existsSync(join(notes, "go"))) await delay(10);
  if (step === "count") say({ kind: "counts", counts: { soci_registry_requests_total: 3 } });
  if (step === "end") say({ kind: "end", residentBytes: 0 });
  if (step === "grown") say({ kind: "end", residentBytes: 2 ** 40 });
  if (step === "fail") say({ kind: "failed", code: "unavailable", message: "no registry" });
  if (step === "babble") process.stdout.write("this is no message\n");
  const hasDied = join(notes, "died");
  if (step === "dieonce" && !existsSync(hasDied)) {
    writeFileSync(hasDied, "");
    process.kill(process.pid, "SIGKILL");
  }
  if (step === "die") process.kill(process.pid, "SIGKILL");
}

function report(position: number, { imageReference, manifestDigest }: ImageJob): void {
  const chainId = `chain ${position}`;
  const layerDigest = manifestDigest;
  const story = { imageReference, manifestDigest, layerDigest, steps: [] };
  say({ kind: "layer", report: { position, chainId, story } });
}

function say(message: WorkerMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
