// The main job, end to end: npm run demo [-- REF]
// Makes an image of this machine's files (or takes REF), indexes it, pushes the index beside it, mounts it over a slow link,
// runs a program inside, and compares with a full pull and unpack over the same link.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pushLayout, type SlowLink, startEmbeddedRegistry, startSlowLink } from "@soci-ts/testkit";
import { soci } from "../e2e/soci-command.ts";
import { fullPull } from "./full-pull.ts";
import { buildMachineImage, type MachineImage } from "./machine-image.ts";
import { megabytes, say, seconds, whyNoMount } from "./report.ts";
import { firstOutput } from "./run-inside.ts";
import { demoUserImage } from "./user-image.ts";
import { readWithoutMount } from "./without-mount.ts";

const LINK = { rttMs: 20, megabitPerSecond: 200 };
const NAME = "demo/app";

interface CreateResult {
  readonly index: string;
  readonly sizeBytes: number;
  readonly layers: readonly {
    readonly ztoc?: string;
    readonly ztocSizeBytes?: number;
    readonly skipped?: string;
  }[];
}

const reference = process.argv[2];
const work = await mkdtemp(join(tmpdir(), "soci-demo-"));
try {
  if (reference !== undefined) await demoUserImage(reference, work);
  else await demoMachineImage();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function demoMachineImage(): Promise<void> {
  const made = await buildMachineImage(join(work, "layout"));
  say(
    `1. An image made of this machine's files: a shell, ${made.language}, Node, and a few thousand more.`,
  );
  const imageBytes = made.image.layers.reduce((sum, layer) => sum + layer.size, 0);
  say(
    `   ${made.files} files, ${megabytes(made.rawBytes)} raw, ${made.image.layers.length} gzip layers of ${megabytes(imageBytes)} together`,
  );

  await using registry = await startEmbeddedRegistry();
  await pushLayout(made.image, registry.host, NAME, "v1");
  const before = await manifestDigest(registry.host);
  say(`2. Pushed to a registry on ${registry.host} by a client that knows nothing of soci.`);

  const started = performance.now();
  const created = (await soci(
    { root: join(work, "builder") },
    "create",
    "--push",
    `${registry.host}/${NAME}:v1`,
  )) as CreateResult;
  const ztocBytes = created.layers.reduce((sum, layer) => sum + (layer.ztocSizeBytes ?? 0), 0);
  const indexed = created.layers.filter((layer) => layer.ztoc !== undefined).length;
  say(
    `3. soci create --push took ${seconds(performance.now() - started)}: ${indexed} layers indexed (the others are too small to be worth it).`,
  );
  const after = await manifestDigest(registry.host);
  if (before !== after) throw new Error(`the manifest digest changed from ${before} to ${after}`);

  await using link = await startSlowLink(registry.host, LINK);
  say(
    `4. A node that has nothing yet, behind a link of ${LINK.rttMs} ms round trip and ${LINK.megabitPerSecond} Mbit/s.`,
  );
  const reason = whyNoMount();
  if (reason !== undefined) {
    say(`   No mount here: ${reason}. Reading a file through the index instead.`);
    const ztoc = created.layers.findLast((layer) => layer.ztoc !== undefined)?.ztoc ?? "";
    await readWithoutMount(made, { work, ztoc, link, reference: `${link.host}/${NAME}:v1` });
    say(`   manifest digest, unchanged: ${await manifestDigest(registry.host)}`);
    return;
  }
  const lazy = await startLazily(link, made);
  const full = await startAfterPull(link, made, imageBytes);
  say("");
  say(`   manifest digest before   ${before}`);
  say(`   manifest digest after    ${after}   equal: nothing was converted`);
  say(
    `   index                    ${megabytes(ztocBytes + created.sizeBytes)}, ${((ztocBytes / imageBytes) * 100).toFixed(1)} % of the image, beside it as a referrer`,
  );
  say(`   the program said         ${lazy.output}`);
  say("");
  say("                            mounted lazily    pulled and unpacked");
  say(`   time to first output     ${seconds(lazy.wallMs).padEnd(18)}${seconds(full.wallMs)}`);
  say(`   bytes over the link      ${megabytes(lazy.bytes).padEnd(18)}${megabytes(full.bytes)}`);
  say(`   requests                 ${String(lazy.requests).padEnd(18)}${full.requests}`);
  say("");
  say(
    `   saved: ${(full.wallMs / lazy.wallMs).toFixed(1)} x sooner, ${(100 - (lazy.bytes / imageBytes) * 100).toFixed(0)} % of the image not fetched.`,
  );
  say(
    "   Next: npx soci create --push YOUR/IMAGE, then npx soci mount YOUR/IMAGE DIR; or npm run demo -- YOUR/IMAGE",
  );
}

interface StartFigures {
  readonly wallMs: number;
  readonly output: string;
  readonly bytes: number;
  readonly requests: number;
}

async function startLazily(link: SlowLink, made: MachineImage): Promise<StartFigures> {
  const target = join(work, "mounted");
  await mkdir(target);
  link.resetCounts();
  const options = { root: join(work, "node") };
  const started = performance.now();
  const mounted = (await soci(options, "mount", `${link.host}/${NAME}:v1`, target)) as {
    readonly door?: string;
  };
  try {
    say(
      `   soci mount took ${seconds(performance.now() - started)} (door: ${mounted.door ?? "?"})`,
    );
    const output = await firstOutput(target, made.program);
    const wallMs = performance.now() - started;
    return { wallMs, output, bytes: link.counts.bytesDown, requests: link.counts.requests };
  } finally {
    await soci(options, "unmount", target);
  }
}

async function startAfterPull(
  link: SlowLink,
  made: MachineImage,
  imageBytes: number,
): Promise<StartFigures> {
  const target = join(work, "unpacked");
  await mkdir(target);
  link.resetCounts();
  const started = performance.now();
  await fullPull(`http://${link.host}/v2/${NAME}`, "v1", target);
  const output = await firstOutput(target, made.program);
  const wallMs = performance.now() - started;
  if (link.counts.bytesDown < imageBytes)
    throw new Error("the full pull fetched less than the image");
  return { wallMs, output, bytes: link.counts.bytesDown, requests: link.counts.requests };
}

async function manifestDigest(host: string): Promise<string> {
  const response = await fetch(`http://${host}/v2/${NAME}/manifests/v1`, {
    method: "HEAD",
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  return response.headers.get("docker-content-digest") ?? "";
}
