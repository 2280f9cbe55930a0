import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  type ByteSource,
  type IoOptions,
  type Logger,
  type Metrics,
  type ReadOptions,
} from "@soci-ts/core";
import { type HydratedLayer, Speculator, type WholeVerdict } from "@soci-ts/lazy-layer";
import type { LayerSlot, LayerSlots } from "../layer-file-system.ts";
import { readSealedImage } from "../metadata-images.ts";
import type { JsonValue, SlotRecord } from "../mount-record.ts";
import { openSlotData, type SlotSource } from "../open-slot.ts";
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
}

const DEFAULT_IDLE_MS = 60_000;

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
  usedAtMs: number;
}

/**
 * The layers of a node as their files say, opened when the kernel asks for one and closed when it has not for a while. Nothing is
 * remembered that is not on the disk, so a process that starts after another was killed serves the same.
 */
export class DiskSlots implements LayerSlots, AsyncDisposable {
  readonly listed: readonly number[] = [];
  readonly #options: DiskSlotsOptions;
  readonly #idleMs: number;
  /** Knows of the reads of all layers that wait for the network. */
  readonly speculator: Speculator = new Speculator();
  readonly #open = new Map<number, OpenSlot>();
  readonly #opening = new Map<number, Promise<LayerSlot | undefined>>();
  /** Layers that are to be deleted: numbers are never used again. */
  readonly #leaving = new Set<number>();

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

  /** A layer that stays open until it is disposed of. @throws AppError if it is not there, or is to be deleted; what opening it throws. */
  async use(slot: number): Promise<HydratedLayer> {
    const layer = this.#leaving.has(slot) ? undefined : await this.get(slot);
    const open = this.#open.get(slot);
    if (layer === undefined || open === undefined) {
      throw new AppError("not_found", `Cannot open layer ${slot}: it is not there any more`);
    }
    const { source } = open;
    // From now on it is known on the disk that the layer is in use, whoever is killed.
    await this.#writeStats(slot, open);
    open.users += 1;
    return {
      fetchAbsent: () => source.fetchAbsent(),
      judge: (options) => this.#judge(open, options),
      get verdict() {
        return source.verdict;
      },
      [Symbol.asyncDispose]: async () => {
        open.users -= 1;
      },
    };
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
      open.lastError = { message, atMs: Date.now() };
    }
    return verdict;
  }

  async #close(slot: number): Promise<void> {
    await this.#opening.get(slot)?.catch(() => {}); // who asked for it is told
    const open = this.#open.get(slot);
    this.#open.delete(slot);
    await open?.source[Symbol.asyncDispose]();
  }

  /** Writes figures down that have changed, and closes layers that have not been used for a while. To be called now and then. */
  async tidy(): Promise<void> {
    for (const [slot, open] of this.#open) {
      await this.#writeStats(slot, open);
      const isIdle = open.users === 0 && Date.now() - open.usedAtMs > this.#idleMs;
      if (isIdle && this.#open.get(slot) === open) await this.#close(slot);
    }
  }

  async #writeStats(slot: number, open: OpenSlot): Promise<void> {
    const stats = statsOf(open);
    const text = JSON.stringify(stats);
    if (text === open.written) return;
    await writeSlotStats(this.#directory(slot), stats);
    open.written = text;
  }

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
    try {
      return await this.#openRecorded(slot, (await readNodeSlot(this.#directory(slot))).record);
    } catch (error) {
      // Only if the slot is not there at all it is absent; if a file of it is missing, that is a failure.
      if (existsSync(this.#directory(slot))) throw slotError(slot, error);
      return undefined;
    }
  }

  async #openRecorded(slot: number, record: SlotRecord): Promise<LayerSlot> {
    const { paths, openBlobs, metrics, readTimeoutMs } = this.#options;
    const directory = this.#directory(slot);
    const logger = this.#options.logger.child({ slot });
    const sources = async (): Promise<readonly JsonValue[]> =>
      (await readNodeSlot(directory)).sources;
    const source = await openSlotData(record, {
      directory,
      layers: join(paths.store, "layers"),
      blobs: sourceBlobs({ sources, openBlobs, logger }),
      readTimeoutMs,
      speculator: this.speculator,
      logger,
      metrics,
    });
    try {
      const image = readSealedImage(await readFile(record.imagePath));
      const before = await readSlotStats(directory);
      const { layerDigest: digest, deviceSlots } = record;
      const layer = { digest, data: this.#counted(slot, source), image, deviceSlots };
      const { lastError } = before;
      const usedAtMs = Date.now();
      this.#open.set(slot, { layer, source, before, written: "", lastError, users: 0, usedAtMs });
      return layer;
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
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
      try {
        return await source.readAt(offset, length, options);
      } catch (error) {
        const { code, message } = AppError.from(error);
        if (code !== "cancelled") {
          open.lastError = { message, atMs: Date.now() };
          this.#options.metrics.count("soci_layer_read_errors_total");
        }
        throw error;
      } finally {
        open.users -= 1;
      }
    };
    return { size: source.size, readAt };
  }
}

function slotError(slot: number, error: unknown): AppError {
  const cause = AppError.from(error);
  // What the kernel is told of a layer that is there must not be that it is not.
  const code = cause.code === "not_found" ? "data_loss" : cause.code;
  return new AppError(code, `Cannot open layer ${slot}: ${cause.message}`, { cause });
}

function statsOf({ source, before, lastError }: OpenSlot): SlotStats {
  const { requests, bytesFetched, bytesRead } = source.traffic();
  return {
    ...NO_STATS,
    requests: before.requests + requests,
    bytesFetched: before.bytesFetched + bytesFetched,
    bytesRead: before.bytesRead + bytesRead,
    cachedBytes: source.cachedBytes(),
    isComplete: source.isComplete(),
    sizeBytes: source.size,
    verdict: source.verdict,
    lastError,
  };
}
