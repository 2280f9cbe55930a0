import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { AppError, delay, type Logger } from "@soci-ts/core";
import {
  deviceChannel,
  FuseSession,
  formatNegotiated,
  type Negotiated,
  parseNegotiated,
  RequestJournal,
} from "@soci-ts/fuse";
import { LayerFileSystem } from "../layer-file-system.ts";
import type { JsonValue } from "../mount-record.ts";
import { SpentPages } from "../spent-pages.ts";
import { boundLog } from "./bound-log.ts";
import { CacheEviction } from "./cache-eviction.ts";
import type { CountingMetrics } from "./counting-metrics.ts";
import { DiskSlots } from "./disk-slots.ts";
import { EvictableLayers } from "./evictable-layers.ts";
import type { CacheLimits } from "./eviction-policy.ts";
import { FuseThread } from "./fuse-thread.ts";
import { handOverHandler } from "./hand-over.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { type HydrationSettings, slotHydrator } from "./hydrate-slots.ts";
import { openJournalFile } from "./journal-file.ts";
import { serveLocalCalls } from "./local-call.ts";
import { LAYER_SERVER_FUSE_FD, type NodePaths, nodePaths } from "./node-paths.ts";
import { SlotPrefetcher } from "./prefetch-slots.ts";
import type { ServerEnd } from "./server-start.ts";
import type { OpenBlobs } from "./source-blob.ts";
import { warmUpReads } from "./warm-up-reads.ts";

export { parseServerStart } from "./server-start.ts";

/** What the layer server needs from its app. */
export interface ServeLayersOptions {
  /** The daemon's root. */
  readonly root: string;
  readonly openBlobs: OpenBlobs;
  /** A read(2) that can't be served fails with EIO after this long. */
  readonly readDeadlineMs: number;
  readonly hydrate: HydrationSettings;
  /** The program's version, for `stats`. */
  readonly version?: string;
  /** Servers of this connection before this one that crashed, and that were killed. Default 0. */
  readonly crashes?: number;
  readonly kills?: number;
  /**
   * How the last of them ended, as far as the keeper can tell; default `killed`. What was being worked on when three servers crashed gets
   * EIO; being killed from outside counts for nothing.
   */
  readonly predecessor?: ServerEnd;
  /** How often the keeper wants a beat on descriptor {@link HEARTBEAT_FD}, in milliseconds; none if absent. */
  readonly beatMs?: number | undefined;
  /** `off`: does not ask the kernel to send requests again, on a new connection; the journal alone has them. Default `auto`. */
  readonly resend?: "auto" | "off";
  /** What layer caches may take of the disk. */
  readonly cacheLimits: CacheLimits;
  /** What was read within this time is not evicted; default 30,000. */
  readonly recentMs?: number | undefined;
  readonly logger: Logger;
  /** Counts what this process does, for the daemon; `openBlobs` may count there too. */
  readonly metrics: CountingMetrics;
}

export { CountingMetrics } from "./counting-metrics.ts";

/** What there is once requests can come: a fault before that has none to blame. */
interface Receiving {
  journal?: RequestJournal | undefined;
  thread?: FuseThread | undefined;
}

const TIDY_INTERVAL_MS = 5000;

/**
 * The process that serves the node's FUSE file system on descriptor {@link LAYER_SERVER_FUSE_FD}, until it is unmounted. It keeps nothing that is not on
 * the disk: when it dies, the keeper starts another one, which takes the connection over with all requests in flight. It never
 * touches its own mount, and ends by SIGKILL to itself only, since a process that waits on `/dev/fuse` survives everything else.
 */
export async function serveLayers(options: ServeLayersOptions): Promise<never> {
  const { logger, beatMs } = options;
  const receiving: Receiving = {};
  const isStuck = (): boolean => receiving.thread?.channel.isStuck() ?? false;
  const heartbeat = beatMs === undefined ? undefined : startHeartbeat(beatMs, isStuck);
  const fault = (error: unknown): void => {
    receiving.journal?.markCrashed();
    const text = error instanceof Error ? error.stack : String(error);
    logger.error("layer server failed", { error: text });
    heartbeat?.fault();
    die();
  };
  process.on("uncaughtException", fault);
  process.on("unhandledRejection", fault);
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) process.on(signal, () => {});
  try {
    await serve(options, receiving, fault);
    logger.info("layer file system unmounted");
  } catch (error) {
    fault(error);
  }
  return die();
}

async function serve(
  options: ServeLayersOptions,
  receiving: Receiving,
  fault: (error: unknown) => void,
): Promise<void> {
  const { openBlobs, logger, metrics, readDeadlineMs, hydrate } = options;
  const paths = nodePaths(options.root);
  await using slots = new DiskSlots({
    paths,
    openBlobs,
    logger,
    metrics,
    readTimeoutMs: readDeadlineMs,
    space: {
      wrote: (sizeBytes) => eviction.wrote(sizeBytes),
      full: () => eviction.full(),
    },
    reader: {
      show: (slot, bytes) => receiving.thread?.show(slot, bytes),
      hide: (slot) => receiving.thread?.hide(slot),
    },
    onOpened: (slot) => prefetcher.opened(slot),
  });
  const ended = new AbortController();
  const prefetcher = new SlotPrefetcher({
    paths,
    slots,
    mayFetch: () => eviction.hasRoom(),
    signal: ended.signal,
    logger,
    metrics,
  });
  const eviction = new CacheEviction({
    ground: new EvictableLayers(paths, slots),
    limits: options.cacheLimits,
    logger,
    metrics,
    recentMs: options.recentMs,
  });
  const negotiated = readNegotiated(paths);
  const journalFile = openJournalFile({ path: paths.journal, logger });
  const journal =
    journalFile && new RequestJournal(journalFile, options.predecessor ?? "killed", logger);
  receiving.journal = journal;
  const spent = new SpentPages({ forget: (range) => session.forgetPages(range), logger });
  // Without a journal the session has receive buffers of its own, and receives by itself.
  const thread =
    journal &&
    new FuseThread({
      fd: LAYER_SERVER_FUSE_FD,
      journal,
      bytes: journalFile.bytes,
      path: paths.journal,
      onRead: (slot, { nodeId, offset, lengthBytes, seconds }) => {
        spent.answered({ nodeId, offset, lengthBytes });
        slots.noteRead(slot, offset, lengthBytes, seconds);
      },
      onFailure: fault,
    });
  receiving.thread = thread;
  const session: FuseSession = new FuseSession({
    channel: thread?.channel ?? deviceChannel(LAYER_SERVER_FUSE_FD),
    handler: new LayerFileSystem(slots, (range, read) => spent.watch(range, read)),
    logger,
    metrics,
    journal,
    resend: options.resend ?? "auto",
    readDeadlineMs,
    negotiated,
    onNegotiated: (negotiated) => keepNegotiated(paths, negotiated),
  });
  await using _calls = await serveLocalCalls(
    paths.layersSocket,
    {
      stats: async () => figures(options, { session, thread, slots, eviction }),
      close: async (params) => {
        await slots.close(Number(params));
        return null;
      },
      evict: async (params) => ({ ...(await eviction.evictNow({ all: params === "all" })) }),
      // For when the keeper is gone. The next one ends this process.
      handOver: handOverHandler({ role: "server", fd: LAYER_SERVER_FUSE_FD }, async (successor) => {
        setImmediate(() => successor.release()); // after the answer
      }),
    },
    logger,
  );
  const tidying = keepTidy({ slots, eviction, logger, paths }, ended.signal);
  const mayFetch = (): boolean => eviction.hasRoom();
  const hydrator = slotHydrator({ ...hydrate, mayFetch, paths, slots, logger, metrics });
  const hydrating = hydrator.run(ended.signal);
  // A server that takes over has better things to do.
  if (negotiated === undefined) void warmUp(paths, ended.signal, logger);
  await session.run();
  ended.abort();
  await Promise.all([tidying, hydrating]);
  await eviction.close();
}

interface Served {
  readonly session: FuseSession;
  readonly thread: FuseThread | undefined;
  readonly slots: DiskSlots;
  readonly eviction: CacheEviction;
}

/** What the daemon asks for; `server-stats.ts` reads it. */
function figures(
  { version = "", crashes = 0, kills = 0, metrics }: ServeLayersOptions,
  { session, thread, slots, eviction }: Served,
): JsonValue {
  thread?.channel.takeNotes();
  const slotStats = [...slots.stats()].map(([slot, stats]) => ({ slot, ...stats }));
  return {
    pid: process.pid,
    version,
    restarts: crashes + kills,
    crashes,
    kills,
    rssBytes: process.memoryUsage.rss(),
    fuseMessages: session.messages + (thread?.channel.answered ?? 0),
    counters: metrics.counts(),
    histograms: metrics.histograms() as unknown as JsonValue,
    lastEviction: eviction.last ?? null,
    slots: slotStats as unknown as JsonValue,
  };
}

interface Tidied {
  readonly slots: DiskSlots;
  readonly eviction: CacheEviction;
  readonly logger: Logger;
  readonly paths: NodePaths;
}

async function warmUp(paths: NodePaths, signal: AbortSignal, logger: Logger): Promise<void> {
  try {
    await warmUpReads(paths.warmUp, signal);
  } catch (error) {
    logger.warn("server not warmed up", { error: AppError.from(error).message });
  }
}

/** Tidies now and then, and once more at the end. Never rejects: a disk that is full now may not be later. */
async function keepTidy(tidied: Tidied, ended: AbortSignal): Promise<void> {
  const { slots, eviction, logger, paths } = tidied;
  for (;;) {
    const isLast = ended.aborted;
    try {
      await slots.tidy();
      await boundLog(paths.keeperLog);
      // Not waited for: figures are written down while it goes on.
      if (!isLast) void eviction.look();
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
  writeFileSync(`${fuseRecord}.new`, formatNegotiated(negotiated), { mode: 0o600 });
  renameSync(`${fuseRecord}.new`, fuseRecord);
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is delivered before the call returns; the loop is for the type checker.
  for (;;);
}
