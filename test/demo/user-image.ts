import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { soci } from "../e2e/soci-command.ts";
import { megabytes, say, seconds, whyNoMount } from "./report.ts";
import { firstOutput } from "./run-inside.ts";

interface CreateResult {
  readonly manifest: string;
  readonly layers: readonly { readonly sizeBytes: number; readonly ztocSizeBytes?: number }[];
}

interface UnmountResult {
  readonly stats?: { readonly requests: number; readonly bytesFetched: number };
}

/** The demo on an image of the user's: indexes it into a store of the demo's own (nothing is pushed), mounts it, runs a shell in it. */
export async function demoUserImage(reference: string, work: string): Promise<void> {
  const options = { root: join(work, "store"), timeoutMs: 3_600_000 };
  const started = performance.now();
  const created = (await soci(options, "create", reference)) as CreateResult;
  const imageBytes = created.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  const ztocBytes = created.layers.reduce((sum, layer) => sum + (layer.ztocSizeBytes ?? 0), 0);
  const indexMs = performance.now() - started;
  say(`1. soci create ${reference}: manifest ${created.manifest}`);
  say(
    `   ${seconds(indexMs)} to read and index ${megabytes(imageBytes)} in ${created.layers.length} layers; the index has ${megabytes(ztocBytes)}. Nothing was pushed.`,
  );
  const reason = whyNoMount();
  if (reason !== undefined) {
    say(`   No mount here: ${reason}. Try: npx soci --root ${options.root} ztoc ls`);
    return;
  }
  const target = join(work, "mounted");
  await mkdir(target);
  const mountStarted = performance.now();
  await soci(options, "mount", reference, target);
  let unmounted: UnmountResult = {};
  try {
    const output = await firstOutput(target, [
      "/bin/sh",
      "-c",
      "echo a shell runs inside the image",
    ]).catch(
      (error: Error) =>
        `no shell could be run (${error.message}); its files are there all the same`,
    );
    say(`2. Mounted, and ${seconds(performance.now() - mountStarted)} after the start: ${output}`);
  } finally {
    unmounted = (await soci(options, "unmount", target)) as UnmountResult;
  }
  if (unmounted.stats !== undefined) {
    say(
      `   fetched ${megabytes(unmounted.stats.bytesFetched)} of ${megabytes(imageBytes)} in ${unmounted.stats.requests} requests`,
    );
  }
}
