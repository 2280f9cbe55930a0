import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  type ByteSource,
  type IoOptions,
  type Logger,
  type Metrics,
} from "@soci-ts/core";
import type { LayerSlot, LayerSlots } from "../layer-file-system.ts";
import { readSealedImage } from "../metadata-images.ts";
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
}

/** A layer that nobody has asked for is closed after this time; opening it again costs some milliseconds. */
const IDLE_MS = 60_000;

interface OpenSlot {
  readonly layer: LayerSlot;
  readonly source: SlotSource;
  /** What it had cost when it was opened. */
  readonly before: SlotStats;
  lastError: SlotStats["lastError"];
  readers: number;
  usedAtMs: number;
}

/**
 * The layers of a node as their files say, opened when the kernel asks for one and closed when it has not for a while. Nothing is
 * remembered that is not on the disk, so a process that starts after another was killed serves the same.
 */
export class DiskSlots implements LayerSlots, AsyncDisposable {
  readonly listed: readonly number[] = [];
  readonly #options: DiskSlotsOptions;
  readonly #open = new Map<number, OpenSlot>();
  readonly #opening = new Map<number, Promise<LayerSlot>>();

  constructor(options: DiskSlotsOptions) {
    this.#options = options;
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

  /** Closes a layer that is to be deleted. Reads that still come for it open it again, if it is there. */
  async close(slot: number): Promise<void> {
    const open = this.#open.get(slot);
    this.#open.delete(slot);
    await open?.source[Symbol.asyncDispose]();
  }

  /** Writes figures down, and closes layers that have not been used for a while. To be called now and then. */
  async tidy(): Promise<void> {
    for (const [slot, open] of this.#open) {
      await writeSlotStats(this.#directory(slot), statsOf(open));
      const isIdle = open.readers === 0 && Date.now() - open.usedAtMs > IDLE_MS;
      if (isIdle) await this.close(slot);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const slot of [...this.#open.keys()]) await this.close(slot);
  }

  #directory(slot: number): string {
    return slotDirectory(this.#options.paths.slots, slot);
  }

  async #openAbsent(slot: number): Promise<LayerSlot | undefined> {
    const opening = this.#opening.get(slot) ?? this.#read(slot);
    this.#opening.set(slot, opening);
    try {
      return await opening;
    } catch (error) {
      if (AppError.from(error).code === "not_found") return undefined;
      throw error;
    } finally {
      this.#opening.delete(slot);
    }
  }

  async #read(slot: number): Promise<LayerSlot> {
    const { paths, openBlobs, metrics, readTimeoutMs } = this.#options;
    const directory = this.#directory(slot);
    const { record } = await readNodeSlot(directory);
    const logger = this.#options.logger.child({ slot });
    const source = await openSlotData(record, {
      directory,
      layers: join(paths.store, "layers"),
      blobs: sourceBlobs({
        sources: async () => (await readNodeSlot(directory)).sources,
        openBlobs,
        logger,
      }),
      readTimeoutMs,
      logger,
      metrics,
    });
    try {
      const image = readSealedImage(await readFile(record.imagePath));
      const before = await readSlotStats(directory);
      const { layerDigest: digest, deviceSlots } = record;
      const layer = { digest, data: this.#counted(slot, source), image, deviceSlots };
      const open = { layer, source, before, lastError: before.lastError, readers: 0, usedAtMs: 0 };
      this.#open.set(slot, { ...open, usedAtMs: Date.now() });
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
      options?: IoOptions,
    ): Promise<Uint8Array> => {
      const open = this.#open.get(slot);
      if (open === undefined) return await source.readAt(offset, length, options);
      open.readers += 1;
      try {
        return await source.readAt(offset, length, options);
      } catch (error) {
        const { code, message } = AppError.from(error);
        if (code !== "cancelled") open.lastError = { message, atMs: Date.now() };
        throw error;
      } finally {
        open.readers -= 1;
      }
    };
    return { size: source.size, readAt };
  }
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
    lastError,
  };
}
