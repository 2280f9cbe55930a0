import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { command, type SlowLink } from "@soci-ts/testkit";
import { SOCI_PROGRAM } from "../e2e/soci-command.ts";
import type { MachineImage } from "./machine-image.ts";
import { megabytes, say, seconds } from "./report.ts";

/** Where the index is and how the image is reached. */
export interface ReadOptions {
  readonly work: string;
  readonly ztoc: string;
  readonly link: SlowLink;
  readonly reference: string;
}

/** What works without root or /dev/fuse: the program's file is read through the index, lazily, and run on this machine. */
export async function readWithoutMount(made: MachineImage, options: ReadOptions): Promise<void> {
  const { work, ztoc, link, reference } = options;
  link.resetCounts();
  const started = performance.now();
  const cat = [SOCI_PROGRAM, "--root", join(work, "builder"), "ztoc", "cat", ztoc, made.scriptName];
  const { stdout: content } = await command(process.execPath, [...cat, "--ref", reference]);
  const wallMs = performance.now() - started;
  const script = join(work, made.scriptName);
  await writeFile(script, content);
  const { stdout } = await command(made.program[0] ?? "", [script]);
  const imageBytes = made.image.layers.reduce((sum, { size }) => sum + size, 0);
  say(
    `   soci ztoc cat ${made.scriptName} took ${seconds(wallMs)}: ${megabytes(link.counts.bytesDown)} in ${link.counts.requests} requests, of an image of ${megabytes(imageBytes)}`,
  );
  say(`   run on this machine, it said: ${stdout.trim()}`);
}
