import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import {
  AppError,
  type ByteSource,
  type ErrorCode,
  type IoOptions,
  type Logger,
  type Metrics,
  type ReadOptions,
} from "@soci-ts/core";
import type { CacheSpace, HydratedLayer, PresentBytes, WholeVerdict } from "@soci-ts/lazy-layer";
import type { LayerSlot, LayerSlots } from "../layer-file-system.ts";
import { readSealedImage } from "../metadata-images.ts";
import type { JsonValue, SlotRecord } from "../mount-record.ts";
import { openSlotData, type SlotCache, type SlotSource } from "../open-slot.ts";
import type { NodePaths } from "./node-paths.ts";
import {
  NO_STATS,
  readNodeSlot,
  readSlotStats,
  type SlotStats,
  slotDirectory,
  writeSlotStats,
} from "./slot-files.ts";
import { type OpenBlobs, sourceBlobs } from "./source-blob.ts";
import { Sources } from "./sources.ts";

/** What the layers of a node are opened with. */
export interface DiskSlotsOptions {
  readonly paths: NodePaths;
  readonly openBlobs: OpenBlobs;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A read of a layer fails after this long. */
  readonly readTimeoutMs: number;
  /** A layer that nobody has asked for is closed after this time; opening it again costs some milliseconds. Default 60,000. */
  readonly idleMs?: number | undefined;
  /** Told what caches take of the disk. */
  readonly space?: CacheSpace | undefined;
  /** Reads present bytes of open layers beside this; {@link DiskSlots.noteRead} is told of it. */
  readonly reader?: PresentBytesReader | undefined;
  /** Told of each layer that was opened. */
  readonly onOpened?: ((slot: number) => void) | undefined;
}

/** Whoever reads present bytes by itself. */
export interface PresentBytesReader {
  show(slot: number, bytes: PresentBytes): void;
  hide(slot: number): void;
}

/** The cache of an open layer. */
export interface OpenCache {
  readonly cache: SlotCache;
  /** When the layer was last read before it was opened, in ms since the epoch; 0: never. Of what was read since, the spans know. */
  readonly usedAtMs: number;
}

const DEFAULT_IDLE_MS = 60_000;

/** How long a source may say nothing while there is another one to ask. */
const SOURCE_PATIENCE_MS = 3000;

/** An attempt to open a layer that took this long and failed is not made again for as long as follows: the kernel asks up to three times. */
const SLOW_FAILURE_MS = 500;
const FAILURE_MEMORY_MS = 3000;

const NO_SOURCES = { sources: [] };

/** Failures that are noticed behind the registry client, which names the host in its own. */
const NAMELESS: readonly ErrorCode[] = ["data_loss", "deadline_exceeded"];

interface OpenSlot {
  readonly layer: LayerSlot;
  readonly source: SlotSource;
  /** What it had cost when it was opened. */
  readonly before: SlotStats;
  /** The figures as they are on the disk. */
  written: string;
  lastError: SlotStats["lastError"];
  /** Reads, and whoever else needs it open. */
  users: number;
  /** When it was last asked for. */
  usedAtMs: number;
  /** When it was last read. */
  readAtMs: number;
  /** True if the disk knows that something has been read. */
  isNoted: boolean;
}

/**
 * The layers of a node as their files say, opened when the kernel asks for one and closed when it has not for a while. Nothing is
 * remembered that is not on the disk, so a process that starts after another was killed serves the same.
 */
export class DiskSlots implements LayerSlots, AsyncDisposable {
  readonly listed: readonly number[] = [];
  readonly #options: DiskSlotsOptions;
  readonly #idleMs: number;
  readonly #sources = new Sources();
  readonly #open = new Map<number, OpenSlot>();
  readonly #opening = new Map<number, Promise<LayerSlot | undefined>>();
  /** Layers that could not be opened in time, for those who ask at once again. */
  readonly #failures = new Map<number, { readonly error: AppError; readonly untilMs: number }>();
  /** Layers that are to be deleted: numbers are never used again. */
  readonly #leaving = new Set<number>();
  /** What goes on while some layers must stay closed. */
  #closedWork: Promise<unknown> = Promise.resolve();

  constructor(options: DiskSlotsOptions) {
    this.#options = options;
    this.#idleMs = options.idleMs ?? DEFAULT_IDLE_MS;
  }

  get(slot: number): LayerSlot | Promise<LayerSlot | undefined> {
    const open = this.#open.get(slot);
    if (open === undefined) return this.#openAbsent(slot);
    open.usedAtMs = Date.now();
    return open.layer;
  }

  /** What reading each open layer has cost. */
  stats(): ReadonlyMap<number, SlotStats> {
    return new Map([...this.#open].map(([slot, open]) => [slot, statsOf(open)]));
  }

  /** For how long no read of any layer has waited for the network, in milliseconds. */
  get quietMs(): number {
    return this.#sources.quietMs;
  }

  /** A layer that stays open until it is disposed of. @throws AppError if it is not there, or is to be deleted; what opening it throws. */
  async use(slot: number): Promise<HydratedLayer> {
    const layer = this.#leaving.has(slot) ? undefined : await this.get(slot);
    const open = this.#open.get(slot);
    if (layer === undefined || open === undefined) {
      throw new AppError("not_found", `Cannot open layer ${slot}: it is not there any more`);
    }
    const { source } = open;
    open.users += 1;
    return {
      fetchAbsent: (within) => source.fetchAbsent(within),
      judge: (options) => this.#judge(open, options),
      get verdict() {
        return source.verdict;
      },
      [Symbol.asyncDispose]: async () => {
        open.users -= 1;
      },
    };
  }

  /** Caches of open layers that can be given up piece by piece. */
  openCaches(): readonly OpenCache[] {
    return [...this.#open.values()].flatMap(({ source: { cache }, before: { usedAtMs } }) =>
      cache === undefined ? [] : [{ cache, usedAtMs }],
    );
  }

  /** The cache of a layer, which is opened if need be; `undefined` if there is none, or it can only be given up as a whole. */
  async openCache(slot: number): Promise<OpenCache | undefined> {
    await this.get(slot);
    const open = this.#open.get(slot);
    const cache = open?.source.cache;
    return open && cache && { cache, usedAtMs: open.before.usedAtMs };
  }

  /**
   * Runs `work` while layers are closed: what asks for a layer meanwhile waits. @returns `undefined`, and nothing was run, if one of them is open.
   */
  async whileClosed<T>(layers: readonly number[], work: () => Promise<T>): Promise<T | undefined> {
    if (layers.some((slot) => this.#open.has(slot) || this.#opening.has(slot))) return undefined;
    const working = work();
    this.#closedWork = working.catch(() => {}); // it is thrown here
    return await working;
  }

  /** Closes a layer that is to be deleted. Reads that still come for it open it again, if it is there. */
  async close(slot: number): Promise<void> {
    this.#leaving.add(slot);
    await this.#close(slot);
  }

  /** What was found out is in the figures at once, and its failure where people look for it. */
  async #judge(open: OpenSlot, options: IoOptions | undefined): Promise<WholeVerdict> {
    const verdict = await open.source.judge(options);
    if (verdict === "wrong") {
      const message = `Cannot read layer ${open.layer.digest}: its bytes are not what the image's config says`;
      open.lastError = { code: "data_loss", message, atMs: Date.now() };
    }
    return verdict;
  }

  async #close(slot: number): Promise<void> {
    await this.#opening.get(slot)?.catch(() => {}); // who asked for it is told
    const open = this.#open.get(slot);
    this.#open.delete(slot);
    this.#options.reader?.hide(slot);
    await open?.source[Symbol.asyncDispose]();
  }

  /** Writes figures down that have changed, and closes layers that have not been used for a while. To be called now and then. */
  async tidy(): Promise<void> {
    for (const [slot, open] of this.#open) {
      await this.#writeStats(slot, open).catch(this.#notWritten);
      const isIdle = open.users === 0 && Date.now() - open.usedAtMs > this.#idleMs;
      if (isIdle && this.#open.get(slot) === open) await this.#close(slot);
    }
  }

  /** A thread beside this has answered a read of present bytes. */
  noteRead(slot: number, offset: number, length: number, seconds: number): void {
    const open = this.#open.get(slot);
    if (open === undefined) return;
    open.usedAtMs = Date.now();
    open.readAtMs = open.usedAtMs;
    open.source.shared?.noteRead(offset, length, seconds);
    if (!open.isNoted) this.#writeFirstRead(slot, open);
  }

  /** The first read is known on the disk at once: from then on the layer is one that is in use, whoever is killed. */
  #writeFirstRead(slot: number, open: OpenSlot): void {
    open.isNoted = true;
    this.#writeStats(slot, open).catch((error: unknown) => {
      open.isNoted = false;
      this.#notWritten(error);
    });
  }

  async #writeStats(slot: number, open: OpenSlot): Promise<void> {
    const stats = statsOf(open);
    const text = JSON.stringify(stats);
    if (text === open.written) return;
    await writeSlotStats(this.#directory(slot), stats);
    open.written = text;
  }

  /** A disk that is full now may not be later; layers are closed all the same. */
  readonly #notWritten = (error: unknown): void => {
    this.#options.logger.warn("figures not written", { error: AppError.from(error).message });
  };

  async [Symbol.asyncDispose](): Promise<void> {
    for (const slot of [...this.#open.keys()]) await this.#close(slot);
  }

  #directory(slot: number): string {
    return slotDirectory(this.#options.paths.slots, slot);
  }

  #openAbsent(slot: number): Promise<LayerSlot | undefined> {
    const known = this.#opening.get(slot);
    if (known !== undefined) return known;
    const opening = this.#read(slot).finally(() => this.#opening.delete(slot));
    this.#opening.set(slot, opening);
    return opening;
  }

  async #read(slot: number): Promise<LayerSlot | undefined> {
    await this.#closedWork;
    const startedMs = Date.now();
    const failure = this.#failures.get(slot);
    if (failure !== undefined && failure.untilMs > startedMs) throw failure.error;
    this.#failures.delete(slot);
    try {
      return await this.#openRecorded(slot, (await readNodeSlot(this.#directory(slot))).record);
    } catch (error) {
      // Only if the slot is not there at all it is absent; if a file of it is missing, that is a failure.
      if (!existsSync(this.#directory(slot))) return undefined;
      const failed = slotError(slot, error);
      const now = Date.now();
      if (now - startedMs > SLOW_FAILURE_MS) {
        this.#failures.set(slot, { error: failed, untilMs: now + FAILURE_MEMORY_MS });
      }
      await this.#noteNotOpened(slot, failed);
      throw failed;
    }
  }

  /** Where whoever explains looks for the last failure of a layer that nobody has open. */
  async #noteNotOpened(slot: number, { code, message }: AppError): Promise<void> {
    this.#options.metrics.count("soci_layer_read_errors_total");
    const directory = this.#directory(slot);
    const lastError = { code, message, atMs: Date.now() };
    const stats = { ...(await readSlotStats(directory)), lastError };
    await writeSlotStats(directory, stats).catch(this.#notWritten);
  }

  async #openRecorded(slot: number, record: SlotRecord): Promise<LayerSlot> {
    const { paths, openBlobs, metrics, readTimeoutMs, space } = this.#options;
    const directory = this.#directory(slot);
    const logger = this.#options.logger.child({ slot });
    const sources = async (): Promise<readonly JsonValue[]> =>
      (await readNodeSlot(directory)).sources;
    const patienceMs = Math.min(SOURCE_PATIENCE_MS, readTimeoutMs / 3);
    const known = this.#sources;
    const [newest = null] = await sources();
    const source = await openSlotData(record, {
      directory,
      layers: paths.layers,
      blobs: sourceBlobs({ sources, openBlobs, known, patienceMs, logger }),
      readTimeoutMs,
      speculator: known.speculatorOf(newest),
      space,
      logger,
      metrics,
    });
    try {
      const image = readSealedImage(await readFile(record.imagePath));
      const before = await readSlotStats(directory);
      const { layerDigest: digest, deviceSlots } = record;
      const layer = { digest, data: this.#counted(slot, source), image, deviceSlots };
      const { lastError, usedAtMs: readAtMs } = before;
      const isNoted = before.bytesRead > 0;
      const use = { users: 0, usedAtMs: Date.now(), readAtMs, isNoted };
      this.#open.set(slot, { layer, source, before, written: "", lastError, ...use });
      const present = source.shared?.present;
      if (present !== undefined) this.#options.reader?.show(slot, present);
      this.#options.onOpened?.(slot);
      return layer;
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where a layer is had, for failures that do not say it. */
  async #readFrom(slot: number): Promise<string> {
    const { sources } = await readNodeSlot(this.#directory(slot)).catch(() => NO_SOURCES); // the read's own failure counts
    return this.#sources.inOrder(sources).map(nameOf).join(", ");
  }

  /** The source, its readers counted and its last failure kept. */
  #counted(slot: number, source: SlotSource): ByteSource {
    const readAt = async (
      offset: number,
      length: number,
      options?: ReadOptions,
    ): Promise<Uint8Array> => {
      const open = this.#open.get(slot);
      if (open === undefined) return await source.readAt(offset, length, options);
      open.users += 1;
      open.readAtMs = Date.now();
      try {
        return await source.readAt(offset, length, options);
      } catch (error) {
        const { code, message } = AppError.from(error);
        if (code !== "cancelled") {
          const from = NAMELESS.includes(code)
            ? `; it is read from ${await this.#readFrom(slot)}`
            : "";
          open.lastError = { code, message: `${message}${from}`, atMs: Date.now() };
          this.#options.metrics.count("soci_layer_read_errors_total");
        }
        throw error;
      } finally {
        open.users -= 1;
        if (!open.isNoted) this.#writeFirstRead(slot, open);
      }
    };
    return { size: source.size, readAt };
  }
}

function nameOf(source: JsonValue): string {
  const isImage = typeof source === "object" && source !== null && "image" in source;
  return isImage ? String(source["image"]) : JSON.stringify(source);
}

function slotError(slot: number, error: unknown): AppError {
  const cause = AppError.from(error);
  // What the kernel is told of a layer that is there must not be that it is not.
  const code = cause.code === "not_found" ? "data_loss" : cause.code;
  return new AppError(code, `Cannot open layer ${slot}: ${cause.message}`, { cause });
}

function statsOf({ source, before, lastError, readAtMs: usedAtMs }: OpenSlot): SlotStats {
  const { requests, bytesFetched, bytesRead } = source.traffic();
  return {
    ...NO_STATS,
    requests: before.requests + requests,
    bytesFetched: before.bytesFetched + bytesFetched,
    bytesRead: before.bytesRead + bytesRead,
    cachedBytes: source.cachedBytes(),
    isComplete: source.isComplete(),
    sizeBytes: source.size,
    ...(source.verdict === undefined ? {} : { verdict: source.verdict }),
    usedAtMs,
    lastError,
  };
}
