import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { AppError, type Logger, type Metrics, roundUp } from "@soci-ts/core";
import type { Chunk, ChunkMap } from "./chunk-map.ts";
import { openThere, readFully, writeFully } from "./file-io.ts";
import { Presence } from "./presence.ts";
import type { PresenceHeader } from "./presence-format.ts";
import { RecentChunks } from "./recent-chunks.ts";

/** Names of the files in a cache directory; see FORMAT.md. */
export const DATA_FILE = "data";
/** See {@link DATA_FILE}. */
export const PRESENCE_FILE = "presence";

const BLOCK_BYTES = 512;

/** Reads up to this length are answered from recently read chunks; longer ones come from those who read in order. */
const SMALL_BYTES = 16_384;

interface Files {
  readonly data: FileHandle;
  readonly presence: Presence;
}

/** Where a cache reports what goes wrong. */
export interface CacheReporting {
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * The chunks of a layer that are on the disk. Nothing in here fails a read: what can't be read, or is not what its checksum says,
 * is absent; what can't be written stays with the caller.
 */
export class LayerCache {
  readonly #map: ChunkMap;
  readonly #files: Files | undefined;
  readonly #reporting: CacheReporting;
  readonly #recent = new RecentChunks();
  #cachedBytes = 0;
  #corruptChunks = 0;
  #errors = 0;
  #isFailing = false;

  private constructor(map: ChunkMap, files: Files | undefined, reporting: CacheReporting) {
    this.#map = map;
    this.#files = files;
    this.#reporting = reporting;
    for (const { number, start, end } of map.chunks(0, map.sizeBytes)) {
      if (files?.presence.has(number)) this.#cachedBytes += end - start;
    }
  }

  /**
   * Opens the cache in `directory`, made if absent, and started empty if it is of an older or unknown format.
   * @throws AppError `failed_precondition` if a newer version wrote it; all other failures give a cache that keeps nothing.
   */
  static async open(
    directory: string,
    header: PresenceHeader,
    reporting: CacheReporting,
  ): Promise<LayerCache> {
    try {
      const files = await openFiles(directory, header);
      return new LayerCache(header.map, files, reporting);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const cache = new LayerCache(header.map, undefined, reporting);
      cache.#failed("open", error);
      return cache;
    }
  }

  get cachedBytes(): number {
    return this.#cachedBytes;
  }

  get isComplete(): boolean {
    return this.#cachedBytes === this.#map.sizeBytes;
  }

  get corruptChunks(): number {
    return this.#corruptChunks;
  }

  get errors(): number {
    return this.#errors;
  }

  /** True if all chunks of [start, end) are present. */
  has(start: number, end: number): boolean {
    if (this.#files === undefined) return false;
    for (const { number } of this.#map.chunks(start, end)) {
      if (!this.#files.presence.has(number)) return false;
    }
    return true;
  }

  /**
   * The bytes of [start, end), checked; undefined if some are not (or no longer) to be had here.
   * @param into - used if it has room for all chunks that they lie in.
   */
  async read(start: number, end: number, into?: Uint8Array): Promise<Uint8Array | undefined> {
    const files = this.#files;
    if (files === undefined || !this.has(start, end)) return undefined;
    const chunks = [...this.#map.chunks(start, end)];
    const [first] = chunks;
    if (first !== undefined && chunks.length === 1 && end - start <= SMALL_BYTES) {
      const chunk = this.#recent.get(first.number) ?? (await this.#readChunk(files, first));
      return chunk && copied(chunk.subarray(start - first.start, end - first.start), into);
    }
    const from = first?.start ?? start;
    const to = chunks.at(-1)?.end ?? end;
    // Never handed out unless all of it was read.
    const hasRoom = into !== undefined && into.length >= to - from;
    const bytes = hasRoom ? into.subarray(0, to - from) : Buffer.allocUnsafeSlow(to - from);
    if (!(await this.#fill(files, bytes, from))) return undefined;
    let intact = true;
    for (const chunk of chunks) {
      const part = bytes.subarray(chunk.start - from, chunk.end - from);
      if (!(await this.#isIntact(files, chunk, part))) intact = false;
    }
    return intact ? bytes.subarray(start - from, end - from) : undefined;
  }

  async #readChunk(files: Files, chunk: Chunk): Promise<Uint8Array | undefined> {
    const bytes = this.#recent.take(chunk.end - chunk.start);
    if (!(await this.#fill(files, bytes, chunk.start))) return undefined;
    if (!(await this.#isIntact(files, chunk, bytes))) return undefined;
    this.#recent.put(chunk.number, bytes);
    return bytes;
  }

  /** False if the file can't be read. What it lacks is zeros, which no checksum fits. */
  async #fill(files: Files, bytes: Uint8Array, from: number): Promise<boolean> {
    try {
      if (!(await readFully(files.data, bytes, from))) bytes.fill(0);
      return true;
    } catch (error) {
      this.#failed("read", error);
      return false;
    }
  }

  async #isIntact(files: Files, chunk: Chunk, bytes: Uint8Array): Promise<boolean> {
    if (files.presence.matches(chunk.number, crc32(bytes))) return true;
    if (files.presence.has(chunk.number)) {
      await this.#foundCorrupt(files, chunk.number, chunk.end - chunk.start);
    }
    return false;
  }

  /** Looks whether another process has written chunks of [start, end) meanwhile. */
  async refresh(start: number, end: number): Promise<void> {
    if (this.#files === undefined) return;
    const chunks = [...this.#map.chunks(start, end)];
    const [first, last] = [chunks[0], chunks.at(-1)];
    if (first === undefined || last === undefined) return;
    try {
      const found = new Set(await this.#files.presence.refresh(first.number, last.number + 1));
      for (const chunk of chunks) {
        if (found.has(chunk.number)) this.#cachedBytes += chunk.end - chunk.start;
      }
    } catch (error) {
      this.#failed("read presence", error);
    }
  }

  /** Writes a whole span and marks its chunks; false if that failed. */
  async writeSpan(at: number, bytes: Uint8Array): Promise<boolean> {
    if (this.#files === undefined) return false;
    const { data, presence } = this.#files;
    const { uncompressedStart, uncompressedEnd } = this.#map.span(at);
    const { first, end } = this.#map.chunksOfSpan(at);
    const checksums = new Uint32Array(end - first);
    try {
      await writeFully(data, bytes, uncompressedStart);
    } catch (error) {
      this.#failed("write", error);
      return false;
    }
    for (const chunk of this.#map.chunks(uncompressedStart, uncompressedEnd)) {
      const part = bytes.subarray(chunk.start - uncompressedStart, chunk.end - uncompressedStart);
      checksums[chunk.number - first] = crc32(part);
      if (!presence.has(chunk.number)) this.#cachedBytes += chunk.end - chunk.start;
    }
    try {
      await presence.mark(first, checksums);
      this.#isFailing = false;
    } catch (error) {
      this.#failed("write presence", error);
    }
    return true;
  }

  /** Closes the files. */
  async close(): Promise<void> {
    await this.#files?.presence.close();
    await this.#files?.data.close();
  }

  async #foundCorrupt(files: Files, chunk: number, sizeBytes: number): Promise<void> {
    this.#cachedBytes -= sizeBytes;
    this.#corruptChunks += 1;
    this.#reporting.metrics.count("soci_layer_corrupt_chunks_total");
    this.#reporting.logger.warn("cached chunk is damaged, it is fetched again", { chunk });
    try {
      await files.presence.markCorrupt(chunk);
    } catch (error) {
      this.#failed("write presence", error);
    }
  }

  /** Logged once until something works again: a full disk fails every write. */
  #failed(operation: string, error: unknown): void {
    this.#errors += 1;
    this.#reporting.metrics.count("soci_layer_cache_errors_total");
    if (this.#isFailing) return;
    this.#isFailing = true;
    const reason = AppError.from(error).message;
    this.#reporting.logger.warn("layer cache failed, reads go on without it", {
      operation,
      reason,
    });
  }
}

function copied(bytes: Uint8Array, into: Uint8Array | undefined): Uint8Array {
  if (into === undefined || into.length < bytes.length) return bytes.slice();
  into.set(bytes);
  return into.subarray(0, bytes.length);
}

async function openFiles(directory: string, header: PresenceHeader): Promise<Files> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, PRESENCE_FILE);
  const presence = (await Presence.open(path, header)) ?? (await startEmpty(directory, header));
  try {
    const data = await openData(join(directory, DATA_FILE));
    try {
      const sizeBytes = roundUp(header.map.sizeBytes, BLOCK_BYTES);
      // Only ever longer: another process may have it open.
      if ((await data.stat()).size < sizeBytes) await data.truncate(sizeBytes);
      return { data, presence };
    } catch (error) {
      await data.close();
      throw error;
    }
  } catch (error) {
    await presence.close();
    throw error;
  }
}

async function openData(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR + constants.O_CREAT, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EROFS") throw error;
    return await openThere(path);
  }
}

/** Files of another format are removed, not emptied: a process that has them open goes on with them unharmed. */
async function startEmpty(directory: string, header: PresenceHeader): Promise<Presence> {
  const path = join(directory, PRESENCE_FILE);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await Presence.create(path, header);
    const presence = await Presence.open(path, header);
    if (presence !== undefined) return presence;
    await rm(path, { force: true });
    await rm(join(directory, DATA_FILE), { force: true });
  }
  throw new Error(`other processes keep replacing ${path}`);
}
