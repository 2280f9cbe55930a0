import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { AppError, delay, type Logger } from "@soci-ts/core";
import { deviceChannel, FuseSession, type Negotiated, parseNegotiated } from "@soci-ts/fuse";
import { LayerFileSystem } from "../layer-file-system.ts";
import type { JsonValue } from "../mount-record.ts";
import type { CountingMetrics } from "./counting-metrics.ts";
import { DiskSlots } from "./disk-slots.ts";
import { serveLocalCalls } from "./local-call.ts";
import { LAYER_SERVER_FUSE_FD, type NodePaths, nodePaths } from "./node-paths.ts";
import type { OpenBlobs } from "./source-blob.ts";
import { warmUpReads } from "./warm-up-reads.ts";

/** What the layer server needs from its app. */
export interface ServeLayersOptions {
  /** The daemon's root. */
  readonly root: string;
  readonly openBlobs: OpenBlobs;
  /** A read(2) that can't be served fails with EIO after this long. */
  readonly readDeadlineMs: number;
  /** How often a server of this connection was started again. */
  readonly restarts: number;
  readonly logger: Logger;
  /** Counts what this process does, for the daemon; `openBlobs` may count there too. */
  readonly metrics: CountingMetrics;
}

export { CountingMetrics } from "./counting-metrics.ts";

const TIDY_INTERVAL_MS = 5000;

/**
 * The process that serves the node's FUSE file system on descriptor {@link LAYER_SERVER_FUSE_FD}, until it is unmounted. It keeps nothing that is not on
 * the disk: when it dies, the keeper starts another one, which takes the connection over with all requests in flight. It never
 * touches its own mount, and ends by SIGKILL to itself only, since a process that waits on `/dev/fuse` survives everything else.
 */
export async function serveLayers(options: ServeLayersOptions): Promise<never> {
  const { logger } = options;
  const fault = (error: unknown): void => {
    const text = error instanceof Error ? error.stack : String(error);
    logger.error("layer server failed", { error: text });
    die();
  };
  process.on("uncaughtException", fault);
  process.on("unhandledRejection", fault);
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) process.on(signal, () => {});
  try {
    await serve(options);
    logger.info("layer file system unmounted");
  } catch (error) {
    fault(error);
  }
  return die();
}

async function serve(options: ServeLayersOptions): Promise<void> {
  const { openBlobs, logger, metrics, readDeadlineMs, restarts } = options;
  const paths = nodePaths(options.root);
  await using slots = new DiskSlots({
    paths,
    openBlobs,
    logger,
    metrics,
    readTimeoutMs: readDeadlineMs,
  });
  const negotiated = readNegotiated(paths);
  const session = new FuseSession({
    channel: deviceChannel(LAYER_SERVER_FUSE_FD),
    handler: new LayerFileSystem(slots),
    logger,
    readDeadlineMs,
    negotiated,
    onNegotiated: (negotiated) => keepNegotiated(paths, negotiated),
  });
  await using _calls = await serveLocalCalls(
    paths.layersSocket,
    {
      stats: async () => ({
        pid: process.pid,
        restarts,
        rssBytes: process.memoryUsage.rss(),
        fuseMessages: session.messages,
        counters: metrics.counts(),
        slots: [...slots.stats()].map(([slot, stats]) => ({
          slot,
          ...stats,
        })) as unknown as JsonValue,
      }),
      close: async (params) => {
        await slots.close(Number(params));
        return null;
      },
    },
    logger,
  );
  const ended = new AbortController();
  const tidying = keepTidy(slots, logger, ended.signal);
  // A server that takes over has better things to do.
  if (negotiated === undefined) void warmUp(paths, ended.signal, logger);
  await session.run();
  ended.abort();
  await tidying;
}

async function warmUp(paths: NodePaths, signal: AbortSignal, logger: Logger): Promise<void> {
  try {
    await warmUpReads(paths.warmUp, signal);
  } catch (error) {
    logger.warn("server not warmed up", { error: AppError.from(error).message });
  }
}

/** Tidies now and then, and once more at the end. Never rejects: a disk that is full now may not be later. */
async function keepTidy(slots: DiskSlots, logger: Logger, ended: AbortSignal): Promise<void> {
  for (;;) {
    const isLast = ended.aborted;
    try {
      await slots.tidy();
    } catch (error) {
      logger.error("layers not tidied", { error: AppError.from(error).message });
    }
    if (isLast) return;
    await delay(TIDY_INTERVAL_MS, ended).catch(() => {}); // the end of the session is no failure
  }
}

/** What an earlier server of this connection agreed on with the kernel; none: the kernel's INIT is still to come. */
function readNegotiated({ fuseRecord }: NodePaths): Negotiated | undefined {
  let text: string;
  try {
    text = readFileSync(fuseRecord, "utf8");
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
  return parseNegotiated(JSON.parse(text));
}

/** At once: a server that dies before it is written leaves a connection that nobody can take over. */
function keepNegotiated({ fuseRecord }: NodePaths, negotiated: Negotiated): void {
  writeFileSync(`${fuseRecord}.new`, JSON.stringify(negotiated), { mode: 0o600 });
  renameSync(`${fuseRecord}.new`, fuseRecord);
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is delivered before the call returns; the loop is for the type checker.
  for (;;);
}
