import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { delay } from "@soci-ts/core";
import type { ImageJob, WorkerMessage } from "../node/image-job.ts";

/* An image worker that does what the name of its image says: a word a step, `layers-fail`. The argument is a directory that it notes its process in. */

const [notes = ""] = process.argv.slice(2);

const job = await new Promise<ImageJob | undefined>((resolve) => {
  const input = createInterface({ input: process.stdin });
  input.once("line", (line) => resolve(JSON.parse(line) as ImageJob));
  input.once("close", () => resolve(undefined));
});
if (job === undefined) process.exit(0);
writeFileSync(join(notes, String(process.pid)), job.directory);
const { imageReference, manifestDigest } = job;
const steps = imageReference.replace(/^.*\//, "").split("-");
for (const step of steps) await perform(step);

async function perform(step: string): Promise<void> {
  if (step === "layers") for (const position of [0, 1]) report(position);
  if (step === "layer0") report(0);
  if (step === "layer1") report(1);
  if (step === "wait") while (!existsSync(join(notes, "go"))) await delay(10);
  if (step === "end") say({ kind: "end" });
  if (step === "fail") say({ kind: "failed", code: "unavailable", message: "no registry" });
  if (step === "babble") process.stdout.write("this is no message\n");
  if (step === "die") process.kill(process.pid, "SIGKILL");
}

function report(position: number): void {
  const chainId = `chain ${position}`;
  const layerDigest = manifestDigest;
  const story = { imageReference, manifestDigest, layerDigest, steps: [] };
  say({ kind: "layer", report: { position, chainId, story } });
}

function say(message: WorkerMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

// What has not ended by now hangs, until its input closes or it is killed.
setInterval(() => {}, 1000);
