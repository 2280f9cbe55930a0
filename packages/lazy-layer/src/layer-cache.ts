import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { AppError, type Logger, type Metrics, roundUp } from "@soci-ts/core";
import { writeOut } from "@soci-ts/linux";
import { DATA_FILE, PRESENCE_FILE, TAR_BLOCK_BYTES } from "./cache-files.ts";
import { CHUNK_BYTES, type Chunk, type ChunkMap } from "./chunk-map.ts";
import {
  type EvictedChunks,
  evictChunks,
  isShared,
  NOTHING_EVICTED,
  type PunchHole,
  runsOf,
} from "./evict-chunks.ts";
import { openThere, readFully, writeFully } from "./file-io.ts";
import { FilePages } from "./file-pages.ts";
import { Presence } from "./presence.ts";
import type { PresenceHeader } from "./presence-format.ts";
import type { PresentBytes } from "./present-reader.ts";
import { RecentChunks, SMALL_READ_BYTES } from "./recent-chunks.ts";
import type { CachedSpan, CacheSpace } from "./types.ts";

/** What is written for nobody goes to the disk in pieces of this length. */
const GENTLE_BYTES = 262_144;

/** Chunks whose checksums are made without a break: half a mebibyte. What is present is answered in between. */
const CHUNKS_AT_ONCE = 8;

interface Files {
  readonly data: FileHandle;
  readonly presence: Presence;
}

/** Where a cache reports what goes wrong. */
export interface CacheReporting {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Looks after the disk space. */
  readonly space?: CacheSpace | undefined;
}

/**
 * The chunks of a layer that are on the disk. Nothing in here fails a read: what can't be read, or is not what its checksum says,
 * is absent; what can't be written stays with the caller.
 */
export class LayerCache {
  readonly directory: string;
  readonly #map: ChunkMap;
  readonly #files: Files | undefined;
  readonly #reporting: CacheReporting;
  readonly #pages: FilePages | undefined;
  readonly #recent = new RecentChunks();
  /** When each span was last read or written, in ms since the epoch; 0: not since the cache was opened. */
  readonly #usedAtMs: Float64Array;
  /** Spans that are being written. */
  readonly #writing = new Set<number>();
  #eviction: Promise<unknown> = Promise.resolve();
  /** True if the file may have bytes that no record counts: of a write that failed, or an eviction that was killed. */
  #mayHaveStrays = true;
  #isClosed = false;
  #cachedBytes = 0;
  #corruptChunks = 0;
  #errors = 0;
  #changes = 0;
  #isFailing = false;

  private constructor(
    { directory, map }: { readonly directory: string; readonly map: ChunkMap },
    files: Files | undefined,
    reporting: CacheReporting,
  ) {
    this.directory = directory;
    this.#map = map;
    this.#files = files;
    this.#reporting = reporting;
    this.#pages = files && new FilePages(files.data.fd, reporting);
    this.#usedAtMs = new Float64Array(map.spans.length);
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
    const place = { directory, map: header.map };
    try {
      const files = await openFiles(directory, header);
      return new LayerCache(place, files, reporting);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const cache = new LayerCache(place, undefined, reporting);
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

  /** How often the data file was found changed, or was changed, since it was opened: what was found out about all of it may not hold any more. */
  get changes(): number {
    return this.#changes;
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
    this.#noteUse(start, end);
    const chunks = [...this.#map.chunks(start, end)];
    const [first] = chunks;
    if (first !== undefined && chunks.length === 1 && end - start <= SMALL_READ_BYTES) {
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
      this.#pages?.touched(bytes.length);
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

  /** Spans of which something is in the file, in order. */
  cachedSpans(): readonly CachedSpan[] {
    const { presence } = this.#files ?? {};
    if (presence === undefined) return [];
    const spans: CachedSpan[] = [];
    for (let span = 0; span < this.#map.spans.length; span += 1) {
      const { first, end } = this.#map.chunksOfSpan(span);
      let chunk = first;
      while (chunk < end && !presence.has(chunk)) chunk += 1;
      if (chunk < end) spans.push({ span, usedAtMs: this.#usedAtMs[span] ?? 0 });
    }
    return spans;
  }

  /** Takes a span out of the file, unless it is being written or the file has a second name. Never rejects. */
  async evictSpan(at: number, punchHole: PunchHole): Promise<EvictedChunks> {
    const { uncompressedStart, uncompressedEnd } = this.#map.span(at);
    return await this.#evicting(async (files) => {
      if (this.#writing.has(at)) return NOTHING_EVICTED;
      const chunks = [...this.#map.chunks(uncompressedStart, uncompressedEnd)];
      const evicted = await evictChunks(files, chunks, punchHole);
      this.#cachedBytes -= evicted.sizeBytes;
      if (evicted.failure !== undefined) {
        this.#mayHaveStrays = true;
        this.#failed("evict", evicted.failure);
      }
      return evicted;
    });
  }

  /** Gives back what the file has and no record counts; looks only where that may be. @returns bytes of disk that this freed. */
  async reclaimStrays(punchHole: PunchHole): Promise<number> {
    if (!this.#mayHaveStrays) return 0;
    let freedBytes = 0;
    await this.#evicting(async ({ data, presence }) => {
      this.#mayHaveStrays = false;
      const before = (await data.stat()).blocks;
      // More than the chunks that are there, with the blocks at their ends.
      const isMore = before * TAR_BLOCK_BYTES > this.#cachedBytes + this.#map.count * 8192;
      if (!isMore || (await isShared(data))) return NOTHING_EVICTED;
      const isAbsent = ({ first, end }: { readonly first: number; readonly end: number }) =>
        Array.from({ length: end - first }, (_, at) => first + at).every((it) => !presence.has(it));
      const absent = this.#map.spans
        .filter((_, at) => !this.#writing.has(at) && isAbsent(this.#map.chunksOfSpan(at)))
        .map(({ uncompressedStart: start, uncompressedEnd: end }) => ({ start, end }));
      for (const { start, end } of runsOf(absent)) await punchHole(data.fd, start, end);
      freedBytes = Math.max(0, before - (await data.stat()).blocks) * TAR_BLOCK_BYTES;
      return NOTHING_EVICTED;
    });
    return freedBytes;
  }

  /** One after the other; writes wait for it, and the file stays open meanwhile: what is punched is a descriptor's number. */
  #evicting(work: (files: Files) => Promise<EvictedChunks>): Promise<EvictedChunks> {
    const eviction = this.#eviction.then(async () => {
      if (this.#files === undefined || this.#isClosed) return NOTHING_EVICTED;
      try {
        return await work(this.#files);
      } catch (error) {
        this.#failed("evict", error);
        return NOTHING_EVICTED;
      }
    });
    this.#eviction = eviction;
    return eviction;
  }

  /** What another thread reads present bytes by, while the cache is open; `undefined` if it keeps nothing. */
  get present(): Pick<PresentBytes, "fd" | "spans" | "states" | "checksums"> | undefined {
    if (this.#files === undefined) return undefined;
    const { data, presence } = this.#files;
    return { fd: data.fd, spans: this.#map.spans, ...presence.shared };
  }

  /** Notes that another thread has read [start, end) from the file. */
  noteRead(start: number, end: number): void {
    this.#noteUse(start, end);
    this.#pages?.touched(end - start);
  }

  #noteUse(start: number, end: number): void {
    const now = Date.now();
    for (let at = this.#map.spanAt(start); at < this.#map.spans.length; at += 1) {
      if (this.#map.span(at).uncompressedStart >= end) return;
      this.#usedAtMs[at] = now;
    }
  }

  /**
   * Writes a whole span and marks its chunks; false if that failed.
   * @param checksums - of its chunks, if they are known already.
   */
  async writeSpan(at: number, bytes: Uint8Array, checksums?: Uint32Array): Promise<boolean> {
    if (this.#files === undefined) return false;
    this.#writing.add(at);
    this.#usedAtMs[at] = Date.now();
    try {
      await this.#eviction;
      return await this.#write(this.#files, at, bytes, checksums);
    } finally {
      this.#writing.delete(at);
    }
  }

  async #write(
    { data, presence }: Files,
    at: number,
    bytes: Uint8Array,
    checksums: Uint32Array | undefined,
  ): Promise<boolean> {
    const { uncompressedStart, uncompressedEnd } = this.#map.span(at);
    this.#changes += 1;
    try {
      if (checksums === undefined) await writeFully(data, bytes, uncompressedStart);
      else await writeGently(data, bytes, uncompressedStart);
      this.#pages?.touched(bytes.length);
    } catch (error) {
      this.#mayHaveStrays = true;
      this.#failed("write", error);
      return false;
    }
    this.#reporting.space?.wrote(bytes.length);
    const known = checksums ?? (await this.#checksums(at, bytes));
    for (const chunk of this.#map.chunks(uncompressedStart, uncompressedEnd)) {
      if (!presence.has(chunk.number)) this.#cachedBytes += chunk.end - chunk.start;
    }
    try {
      await presence.mark(this.#map.chunksOfSpan(at).first, known);
      this.#isFailing = false;
    } catch (error) {
      this.#failed("write presence", error);
    }
    return true;
  }

  async #checksums(at: number, bytes: Uint8Array): Promise<Uint32Array> {
    const { first, end } = this.#map.chunksOfSpan(at);
    const checksums = new Uint32Array(end - first);
    for (let chunk = 0; chunk < checksums.length; chunk += 1) {
      checksums[chunk] = crc32(bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES));
      if (chunk % CHUNKS_AT_ONCE === CHUNKS_AT_ONCE - 1) await setImmediate();
    }
    return checksums;
  }

  /** Where each chunk ends, and the checksum that its bytes must have; undefined unless all are present. */
  contents(): { readonly ends: Float64Array; readonly checksums: Uint32Array } | undefined {
    const { presence } = this.#files ?? {};
    if (presence === undefined || !this.isComplete) return undefined;
    const ends = new Float64Array(this.#map.count);
    for (const { number, end } of this.#map.chunks(0, this.#map.sizeBytes)) ends[number] = end;
    return { ends, checksums: presence.checksums() };
  }

  /** Makes chunks absent whose bytes in the file are not what their checksums say. */
  async markCorrupt(chunks: readonly number[]): Promise<void> {
    const files = this.#files;
    if (files === undefined) return;
    const found = new Set(chunks);
    for (const { number, start, end } of this.#map.chunks(0, this.#map.sizeBytes)) {
      const isPresent = found.has(number) && files.presence.has(number);
      if (isPresent) await this.#foundCorrupt(files, number, end - start);
    }
  }

  /** Closes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#eviction;
    await this.#pages?.close();
    await this.#files?.presence.close();
    await this.#files?.data.close();
  }

  async #foundCorrupt(files: Files, chunk: number, sizeBytes: number): Promise<void> {
    this.#cachedBytes -= sizeBytes;
    this.#changes += 1;
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
    if (isFull(error)) this.#reporting.space?.full();
    if (this.#isFailing) return;
    this.#isFailing = true;
    const reason = AppError.from(error).message;
    this.#reporting.logger.warn("layer cache failed, reads go on without it", {
      operation,
      reason,
    });
  }
}

/** No space, or none left of what this user may have. */
function isFull(error: unknown): boolean {
  const { code } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  return code === "ENOSPC" || code === "EDQUOT";
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
      const sizeBytes = roundUp(header.map.sizeBytes, TAR_BLOCK_BYTES);
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
    return await openThere(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    // Not exclusively: another process may make it at this moment.
    return await open(path, constants.O_RDWR + constants.O_CREAT, 0o600);
  }
}

/** Brings bytes to the disk piece by piece: many at once would keep reads of it waiting. */
async function writeGently(data: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += GENTLE_BYTES) {
    const piece = bytes.subarray(at, at + GENTLE_BYTES);
    await writeFully(data, piece, position + at);
    await writeOut(data.fd, position + at, piece.length);
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
