import { writeSync } from "node:fs";
import { AppError, type LogFields, type Logger, silentLogger } from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import { RegistryClient } from "@soci-ts/registry-client";
import { registryImageSource } from "@soci-ts/soci";
import type { LayerRequest } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import { runImageWorker } from "../node/image-worker.ts";
import { runKeeper } from "../node/keeper.ts";
import { runMountHelper } from "../node/run-mount-helper.ts";
import { CountingMetrics, serveLayers } from "../node/serve-layers.ts";
import { nodeCommand, openTestLayers } from "./node-processes.ts";

/* The processes of a node for the e2e tests: ROLE ROOT, and for a daemon DOOR and its requests as JSON. */

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

const [role = "", root = "", door = "", requests = "[]"] = process.argv.slice(2);
const roles: Readonly<Record<string, () => Promise<void>>> = {
  keeper: () => runKeeper({ root, server: nodeCommand("serve-layers", root), logger }),
  "serve-layers": serve,
  "image-worker": work,
  "mount-helper": runMountHelper,
  daemon: () => runDaemon(door as Door, JSON.parse(requests) as readonly LayerRequest[]),
};
await roles[role]?.();

async function serve(): Promise<void> {
  const metrics = new CountingMetrics();
  const client = new RegistryClient({ plainHttp: true, metrics });
  await serveLayers({
    metrics,
    root,
    openBlobs: async (source) => {
      const { image } = source as { readonly image: string };
      return registryImageSource(client, parseReference(image));
    },
    readDeadlineMs: 20_000,
    restarts: Number(door),
    logger,
  });
}

async function work(): Promise<void> {
  await using client = new RegistryClient({
    plainHttp: true,
    retry: { attempts: 1 },
  });
  await runImageWorker({
    root,
    client,
    policyOf: () => ({ kind: "any" }),
    overlayXattrs: "trusted",
    wholeAtOnce: 4,
    lookupTimeoutMs: 2000,
    logger: silentLogger,
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
