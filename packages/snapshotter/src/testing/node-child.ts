import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AppError, type LogFields, type Logger, silentLogger } from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import { RegistryClient } from "@soci-ts/registry-client";
import { registryImageSource } from "@soci-ts/soci";
import type { LayerRequest } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import { parseHolder } from "../node/hand-over.ts";
import { runImageWorker } from "../node/image-worker.ts";
import { runKeeper } from "../node/keeper.ts";
import { runMountHelper } from "../node/run-mount-helper.ts";
import { CountingMetrics, serveLayers } from "../node/serve-layers.ts";
import { parseServerStart } from "../node/server-start.ts";
import { nodeCommand, openTestLayers, testProgram } from "./node-processes.ts";
import { readServerSettings, withholdFfi } from "./server-settings.ts";

/*
 * The processes of a node for the e2e tests: ROLE ROOT, for a daemon DOOR and its requests as JSON, for keeper and server options as a query string.
 * What a layer server serves differently is in a file.
 */

const line =
  (level: string) =>
  (text: string, fields?: LogFields): void => {
    writeSync(2, `${level} ${text} ${JSON.stringify(fields ?? {})}\n`);
  };

/** Of the processes that log to the keeper's file. */
const logger: Logger = {
  debug: () => {},
  info: line("info"),
  warn: line("warn"),
  error: line("error"),
  child: () => logger,
};

/** What a server does when it gets SIGUSR2: what stands in the root's file `fault`. */
const faults: Readonly<Record<string, () => void>> = {
  spin: () => {
    for (;;);
  },
  "block the pool": () => {
    const pipe = `${root}/fifo`;
    execFileSync("mkfifo", [pipe]);
    // Each waits for a writer, in the kernel.
    for (let thread = 0; thread < 64; thread += 1) void readFile(pipe);
  },
  allocate: () => {
    const all: unknown[] = [];
    for (;;) all.push(new Array(4_000_000).fill(1.5));
  },
  throw: () => {
    throw new Error("on purpose");
  },
  stick: () => {
    void writeFile(join(dirname(root), "frozen", "file"), "text");
  },
};

function fail(): void {
  const fault = readFileSync(`${root}/fault`, "utf8");
  writeFileSync(`${root}/fault.done`, "");
  faults[fault]?.();
}

const [role = "", root = "", ...rest] = process.argv.slice(2);
const options = new URLSearchParams(rest[0]?.includes("=") === true ? rest[0] : "");
const version = options.get("version") ?? "1";
const roles: Readonly<Record<string, () => Promise<void>>> = {
  keeper: keep,
  "serve-layers": serve,
  "image-worker": work,
  "mount-helper": runMountHelper,
  daemon: () => runDaemon(rest[0] as Door, JSON.parse(rest[1] ?? "[]") as readonly LayerRequest[]),
};
await roles[role]?.();

async function keep(): Promise<void> {
  const text = options.toString();
  const server = nodeCommand("serve-layers", root, text);
  const heap = options.get("heapMiB");
  const NODE_OPTIONS = heap === null ? undefined : `--max-old-space-size=${heap}`;
  await runKeeper({
    root,
    program: testProgram(version),
    server: { ...server, environment: { ...server.environment, NODE_OPTIONS } },
    self: nodeCommand("keeper", root, text),
    holder: parseHolder(rest.at(-1)),
    isSupervised: false,
    hold: async () => ({ async [Symbol.asyncDispose]() {} }),
    onKeeper: async () => {},
    tickMs: Number(options.get("tickMs") ?? 1000),
    logger,
  });
}

async function serve(): Promise<void> {
  const { resend = "auto", poison, ffi, hydrate, cache } = readServerSettings(root);
  if (ffi === "none") withholdFfi();
  process.on("SIGUSR2", options.has("faults") ? fail : hang);
  const metrics = new CountingMetrics();
  const client = new RegistryClient({ plainHttp: true, metrics });
  await serveLayers({
    metrics,
    root,
    openBlobs: async (source) => {
      const { image } = source as { readonly image: string };
      if (poison !== undefined && image.startsWith(`${poison}@`)) return await crash();
      return registryImageSource(client, parseReference(image));
    },
    readDeadlineMs: 20_000,
    hydrate: { isOn: hydrate !== undefined, maxBytesPerSecond: hydrate ?? 0, idleMs: 100 },
    version,
    resend,
    cacheLimits: { quotaBytes: 0, minFreeBytes: 0 },
    ...cache,
    ...parseServerStart(rest.at(-1)),
    logger,
  });
}

/** A fault that nobody expects: it comes from no call. */
function crash(): Promise<never> {
  setImmediate(() => {
    throw new AppError("internal", "Cannot go on: the test wants a crash");
  });
  return new Promise(() => {});
}

/** Holds the main thread for good, while other threads go on. */
function hang(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

async function work(): Promise<void> {
  const metrics = new CountingMetrics();
  await using client = new RegistryClient({
    plainHttp: true,
    retry: { attempts: 1 },
    metrics,
  });
  await runImageWorker({
    root,
    client,
    policyOf: () => ({ kind: "any" }),
    overlayXattrs: "trusted",
    wholeAtOnce: 4,
    lookupTimeoutMs: 2000,
    logger: silentLogger,
    metrics,
  });
}

/** Makes layers ready, mounts them, says where they are, and waits to be killed. */
async function runDaemon(door: Door, wanted: readonly LayerRequest[]): Promise<void> {
  await using layers = await openTestLayers(root, door);
  const numbers: number[] = [];
  for (const request of wanted) {
    const outcome = await layers.prepareLayer(request);
    if (outcome.kind !== "lazy") throw new AppError("internal", JSON.stringify(outcome.story));
    numbers.push(outcome.layer);
  }
  layers.retain(new Set(numbers));
  const directories = await layers.mountLayers(numbers);
  process.stdout.write(`${JSON.stringify({ numbers, directories })}\n`);
  await new Promise(() => setInterval(() => {}, 1000));
}
