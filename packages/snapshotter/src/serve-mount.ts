import { closeSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { AppError, type ByteSource, DisposeStack, type Logger, silentLogger } from "@soci-ts/core";
import { deviceChannel, FuseSession } from "@soci-ts/fuse";
import { Speculator } from "@soci-ts/lazy-layer";
import { fixedSlots, LayerFileSystem, type LayerSlot } from "./layer-file-system.ts";
import { readSealedImage } from "./metadata-images.ts";
import { readMountRecord } from "./mount-directories.ts";
import type { JsonValue, MountRecord } from "./mount-record.ts";
import { writeMountStats } from "./mount-stats.ts";
import { type BlobOpener, openSlotData, type SlotSource } from "./open-slot.ts";
import { countedReads, prefetchMount } from "./prefetch-mount.ts";
import { COMMIT_WORD, SERVER_FDS, type ServerMessage } from "./server-process.ts";
import { SpentPages } from "./spent-pages.ts";

/** What the serving process needs from its app. */
export interface ServeMountOptions {
  /** The mount's directory: the last argument that the process was started with. */
  readonly directory: string;
  /** Opens the image's blobs by what the mounting app put into the record. Called once; what it returns is closed at the end. */
  readonly openBlobs: (source: JsonValue) => Promise<BlobOpener & Partial<AsyncDisposable>>;
  readonly logger?: Logger;
}

/**
 * The process behind a mount. Serves the mount's FUSE file system on descriptor 3 until it is unmounted, then ends. Never returns, and
 * never ends in another way than by SIGKILL to itself: a process with a reader waiting on `/dev/fuse` survives everything else.
 *
 * It outlives terminal and session (SIGHUP and SIGINT are ignored); SIGTERM ends it, and the mount with it. Until the mounting
 * process says that the mount is on record, it ends when that process does.
 */
export async function serveMount(options: ServeMountOptions): Promise<never> {
  const logger = options.logger ?? silentLogger;
  const stack = new DisposeStack();
  const end = async (): Promise<never> => {
    await stack[Symbol.asyncDispose]().catch((error) => {
      logger.error("layer not closed", { error: AppError.from(error).message });
    });
    return die();
  };
  ignoreTerminal(logger);
  process.once("SIGTERM", () => void end());
  dieWithParentUntilCommitted();
  try {
    await serve(options, logger, stack);
    logger.info("file system unmounted");
  } catch (error) {
    const { code, message } = AppError.from(error);
    logger.error("mount not served", { code, error: message });
    report({ kind: "failed", code, message });
  }
  return await end();
}

async function serve(
  options: ServeMountOptions,
  logger: Logger,
  stack: DisposeStack,
): Promise<void> {
  const record = await readMountRecord(options.directory);
  const blobs = await options.openBlobs(record.source);
  stack.defer(async () => await blobs[Symbol.asyncDispose]?.());
  const sources = await openSlots(record, { ...options, blobs, logger }, stack);
  const complete = sources.every((source) => source.isComplete());
  const spent = new SpentPages({ forget: (range) => session.forgetPages(range), logger });
  const demand = new Speculator();
  const read = sources.map((source) => countedReads(source, demand));
  const slots = fixedSlots(await slotsOf(record, options.directory, read));
  const ended = new AbortController();
  const prefetch = { ...options, sources, demand, signal: ended.signal, logger };
  const session: FuseSession = new FuseSession({
    channel: deviceChannel(SERVER_FDS.fuse),
    handler: new LayerFileSystem(slots, (range, read) => spent.watch(range, read)),
    logger: logger.child({ mount: record.id }),
    onReady() {
      report({ kind: "ready", complete });
      void prefetchMount(prefetch);
    },
  });
  await session.run();
  ended.abort();
  // Who unmounted may have taken the directory away already.
  await writeMountStats(
    options.directory,
    sources.map((source) => source.traffic()),
    session.messages,
  ).catch(() => {});
}

async function openSlots(
  record: MountRecord,
  context: {
    readonly directory: string;
    readonly blobs: BlobOpener;
    readonly logger: Logger;
  },
  stack: DisposeStack,
): Promise<readonly SlotSource[]> {
  const sources: SlotSource[] = [];
  for (const slot of record.slots) {
    sources.push(
      stack.use(await openSlotData(slot, { ...context, layers: record.layersDirectory })),
    );
  }
  return sources;
}

async function slotsOf(
  record: MountRecord,
  directory: string,
  sources: readonly ByteSource[],
): Promise<readonly LayerSlot[]> {
  const slots: LayerSlot[] = [];
  for (const [at, { layerDigest, imagePath, deviceSlots }] of record.slots.entries()) {
    const data = sources[at];
    if (data === undefined) continue;
    const file = await readFile(resolve(directory, imagePath));
    slots.push({ digest: layerDigest, data, image: readSealedImage(file), deviceSlots });
  }
  return slots;
}

function ignoreTerminal(logger: Logger): void {
  process.on("SIGHUP", () => {});
  process.on("SIGINT", () => {});
  const fault = (error: unknown): void => {
    logger.error("unexpected failure", {
      error: error instanceof Error ? error.stack : String(error),
    });
    die();
  };
  process.on("uncaughtException", fault);
  process.on("unhandledRejection", fault);
}

/** Reads the commit pipe, which is standard input: its end without the word means that the mounting process died. */
function dieWithParentUntilCommitted(): void {
  let said = "";
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (text: string) => {
    said = (said + text).slice(0, COMMIT_WORD.length);
  });
  process.stdin.on("error", die);
  process.stdin.on("close", () => {
    if (said !== COMMIT_WORD) die();
  });
}

/** Tells the mounting process, once: the first message closes the pipe, later ones go nowhere. */
function report(message: ServerMessage): void {
  try {
    writeSync(SERVER_FDS.ready, JSON.stringify(message));
    closeSync(SERVER_FDS.ready);
  } catch {
    // Said already, or nobody listens any more; the log has it.
  }
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is delivered before the call returns; the loop is for the type checker.
  for (;;);
}
