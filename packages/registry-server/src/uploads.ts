import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, opendir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  type Digest,
  type DigestAlgorithm,
  Digester,
  digestAlgorithm,
  sha256,
} from "@soci-ts/core";
import { absentAsUndefined } from "./blob-files.ts";
import {
  CROWDED_IDLE_LIMIT_MS,
  CROWDED_RETRY_S,
  MAX_OPEN_UPLOADS,
  MAX_RUNNING_DIGESTS,
  UPLOAD_IDLE_LIMIT_MS,
} from "./limits.ts";
import type { ByteRange } from "./range.ts";
import { SpecError } from "./spec-error.ts";

const UPLOAD_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REHASH_CHUNK_BYTES = 256 * 1024;

/** Owner of uploads that begin and end in one request. No repository has this name, so no client reaches them. */
export const SINGLE_REQUEST = "";

/** An upload: its repository and the id that the client was given. */
export interface UploadKey {
  readonly repository: string;
  readonly id: string;
}

/** Bytes for an upload and where the client says that they belong. */
export interface Chunk {
  readonly body: AsyncIterable<Uint8Array>;
  readonly range?: ByteRange | undefined;
}

/** A finished upload, verified and synced: a file to be moved to its place. */
export interface SealedUpload {
  readonly path: string;
  readonly sizeBytes: number;
}

interface RunningDigest {
  readonly digester: Digester;
  readonly algorithm: DigestAlgorithm;
  offset: number;
}

/**
 * Uploads in progress. Life cycle: `create` → `append` any number of times → `seal` (or `cancel`).
 *
 * An upload is nothing but a file, `<id>-<hash of the repository's name>`, whose length is the offset: so it survives a
 * crash, belongs to one repository, and needs no record elsewhere. What a broken-off request brought is kept, that is what
 * resuming is for; a chunk that is wrong in itself is taken back. The digest runs along in memory; where it was lost
 * (restart, other algorithm, too many uploads) `seal` reads the file again. One request at a time may write to an upload.
 * Their number is bounded, because each takes a file and memory before its client has sent a byte.
 */
export class Uploads {
  readonly #directory: string;
  readonly #limit: number;
  /** Paths of all uploads that were begun and not ended. */
  readonly #open = new Set<string>();
  #crowdedSweepMs = Number.NEGATIVE_INFINITY;
  readonly #busy = new Set<string>();
  readonly #digests = new Map<string, RunningDigest>();

  private constructor(directory: string, limit: number) {
    this.#directory = directory;
    this.#limit = limit;
  }

  /** Makes the folder if need be, and drops what requests that were uploads in themselves left when they were killed. */
  static async open(directory: string, limit: number = MAX_OPEN_UPLOADS): Promise<Uploads> {
    await mkdir(directory, { recursive: true });
    const uploads = new Uploads(directory, limit);
    const leftover = `-${ownerOf(SINGLE_REQUEST)}`;
    for await (const entry of await opendir(directory)) {
      const path = join(directory, entry.name);
      if (entry.name.endsWith(leftover)) await unlink(path);
      else uploads.#open.add(path);
    }
    return uploads;
  }

  /** For a registry that takes none: nothing is made or dropped. */
  static openReadOnly(directory: string): Uploads {
    return new Uploads(directory, 0);
  }

  /**
   * Starts an upload. `algorithm` is a hint; {@link Uploads.seal} takes any digest.
   * @throws SpecError `TOOMANYREQUESTS` if too many are open.
   */
  async create(repository: string, algorithm: DigestAlgorithm): Promise<UploadKey> {
    if (this.#open.size >= this.#limit) await this.#dropIdle();
    if (this.#open.size >= this.#limit) throw tooManyUploads(this.#limit);
    const key = { repository, id: randomUUID() };
    const path = this.#path(key);
    this.#open.add(path);
    try {
      await (await open(path, "wx")).close();
    } catch (error) {
      this.#open.delete(path);
      throw error;
    }
    this.#remember(path, { digester: new Digester(algorithm), algorithm, offset: 0 });
    return key;
  }

  /** Bytes received so far. @throws SpecError `BLOB_UPLOAD_UNKNOWN`. */
  async offset(key: UploadKey): Promise<number> {
    const found = await stat(this.#path(key)).catch(absentAsUndefined);
    if (found === undefined) throw unknownUpload(key);
    return found.size;
  }

  /**
   * Adds a chunk at the end; returns the new length.
   * @throws SpecError `BLOB_UPLOAD_UNKNOWN`; `BLOB_UPLOAD_INVALID` with status 416 for a chunk out of order, 409 if another
   * request is writing, 400 if the body broke off; `SIZE_INVALID` if it is not as long as its range.
   */
  async append(key: UploadKey, chunk: Chunk): Promise<number> {
    return this.#exclusively(key, (file, path) => this.#append(file, path, chunk));
  }

  /**
   * Adds the last chunk, verifies the whole, syncs it, lets `place` move the file away, and ends the upload. `place` runs
   * while no other request can open the file.
   * @throws SpecError as {@link Uploads.append} (then the upload goes on), or `DIGEST_INVALID` (then it is gone).
   */
  async seal(
    key: UploadKey,
    digest: Digest,
    chunk: Chunk,
    place: (sealed: SealedUpload) => void,
  ): Promise<void> {
    await this.#exclusively(key, async (file, path) => {
      const sizeBytes = await this.#append(file, path, chunk);
      const actual = await this.#digest(file, path, digestAlgorithm(digest), sizeBytes);
      this.#digests.delete(path);
      if (actual !== digest) {
        await this.#drop(path);
        throw new SpecError(
          "DIGEST_INVALID",
          `Cannot store blob: its digest is ${actual}, want ${digest}`,
        );
      }
      await file.datasync();
      place({ path, sizeBytes });
      this.#open.delete(path);
    });
  }

  /** Ends an upload and drops its bytes. @throws SpecError `BLOB_UPLOAD_UNKNOWN`, or `BLOB_UPLOAD_INVALID` if a request is writing. */
  async cancel(key: UploadKey): Promise<void> {
    await this.#exclusively(key, async (_file, path) => this.#drop(path));
  }

  /** Bytes that a repository's open uploads have received. */
  async openBytes(repository: string): Promise<number> {
    const suffix = `-${ownerOf(repository)}`;
    let sizeBytes = 0;
    for await (const { name } of await opendir(this.#directory)) {
      if (!name.endsWith(suffix)) continue;
      sizeBytes += (await stat(join(this.#directory, name)).catch(absentAsUndefined))?.size ?? 0;
    }
    return sizeBytes;
  }

  /** Drops uploads that nobody touched for a day, or for `idleMs`. Returns how many. */
  async sweep(now: number = Date.now(), idleMs: number = UPLOAD_IDLE_LIMIT_MS): Promise<number> {
    let removed = 0;
    for await (const entry of await opendir(this.#directory)) {
      const path = join(this.#directory, entry.name);
      const found = await stat(path).catch(absentAsUndefined);
      if (found === undefined || now - found.mtimeMs < idleMs) continue;
      if (this.#busy.has(path)) continue;
      this.#busy.add(path);
      await this.#drop(path).finally(() => this.#busy.delete(path));
      removed += 1;
    }
    return removed;
  }

  /** Looking for idle uploads costs as much as there are uploads: once in a while, however many clients are refused. */
  async #dropIdle(): Promise<void> {
    const now = Date.now();
    if (now - this.#crowdedSweepMs < CROWDED_RETRY_S * 1000) return;
    this.#crowdedSweepMs = now;
    await this.sweep(now, CROWDED_IDLE_LIMIT_MS);
  }

  async #drop(path: string): Promise<void> {
    this.#digests.delete(path);
    await unlink(path).catch(absentAsUndefined);
    this.#open.delete(path);
  }

  /** The id is checked, the repository hashed: neither can lead out of the folder. */
  #path(key: UploadKey): string {
    if (!UPLOAD_ID.test(key.id)) throw unknownUpload(key);
    return join(this.#directory, `${key.id}-${ownerOf(key.repository)}`);
  }

  async #exclusively<T>(
    key: UploadKey,
    work: (file: FileHandle, path: string) => Promise<T>,
  ): Promise<T> {
    const path = this.#path(key);
    if (this.#busy.has(path)) {
      throw new SpecError(
        "BLOB_UPLOAD_INVALID",
        "Cannot write to upload: another request is writing",
        {
          status: 409,
        },
      );
    }
    this.#busy.add(path);
    try {
      await using file = await open(path, "r+").catch(absentAsUndefined);
      if (file === undefined) throw unknownUpload(key);
      return await work(file, path);
    } finally {
      this.#busy.delete(path);
    }
  }

  async #append(file: FileHandle, path: string, { body, range }: Chunk): Promise<number> {
    const start = (await file.stat()).size;
    if (range !== undefined && range.start !== start) throw outOfOrder(range, start);
    const limit = range?.end ?? Number.MAX_SAFE_INTEGER;
    const running = this.#digests.get(path);
    let end = start;
    let isTooLong = false;
    for await (const piece of whole(body)) {
      isTooLong = end + piece.length > limit;
      if (isTooLong) break;
      await writeAll(file, piece, end);
      if (running?.offset === end) {
        running.digester.update(piece);
        running.offset += piece.length;
      }
      end += piece.length;
    }
    if (range === undefined || (end === range.end && !isTooLong)) return end;
    await this.#takeBack(file, path, start);
    throw new SpecError(
      "SIZE_INVALID",
      `Cannot add chunk: its body is not as long as its Content-Range`,
    );
  }

  async #takeBack(file: FileHandle, path: string, sizeBytes: number): Promise<void> {
    this.#digests.delete(path);
    await file.truncate(sizeBytes);
  }

  async #digest(
    file: FileHandle,
    path: string,
    algorithm: DigestAlgorithm,
    sizeBytes: number,
  ): Promise<Digest> {
    const running = this.#digests.get(path);
    if (running?.algorithm === algorithm && running.offset === sizeBytes) {
      return running.digester.digest();
    }
    const digester = new Digester(algorithm);
    const buffer = new Uint8Array(REHASH_CHUNK_BYTES);
    let offset = 0;
    while (offset < sizeBytes) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) break;
      digester.update(buffer.subarray(0, bytesRead));
      offset += bytesRead;
    }
    return digester.digest();
  }

  #remember(path: string, digest: RunningDigest): void {
    this.#digests.set(path, digest);
    if (this.#digests.size <= MAX_RUNNING_DIGESTS) return;
    const [oldest] = this.#digests.keys();
    if (oldest !== undefined) this.#digests.delete(oldest);
  }
}

function ownerOf(repository: string): string {
  return sha256(Buffer.from(repository)).slice("sha256:".length, -32);
}

/** A body whose failure is the client's, not ours. */
export async function* whole(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    // A refusal of more bytes says why itself.
    throw cause instanceof SpecError ? cause : brokenOff(cause);
  }
}

function brokenOff(cause: unknown): SpecError {
  if (cause instanceof AppError && cause.code === "deadline_exceeded") {
    return new SpecError("BLOB_UPLOAD_INVALID", cause.message, { status: 408, cause });
  }
  return new SpecError("BLOB_UPLOAD_INVALID", "Cannot read the request's body: it broke off", {
    cause,
  });
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const rest = bytes.subarray(written);
    written += (await file.write(rest, 0, rest.length, position + written)).bytesWritten;
  }
}

function unknownUpload(key: UploadKey): SpecError {
  return new SpecError(
    "BLOB_UPLOAD_UNKNOWN",
    `Cannot find upload in ${key.repository}: ended or never begun`,
  );
}

function tooManyUploads(limit: number): SpecError {
  return new SpecError(
    "TOOMANYREQUESTS",
    `Cannot begin upload: ${limit} are open, want one of them ended or idle for ${CROWDED_IDLE_LIMIT_MS / 60_000} minutes`,
    { headers: { "Retry-After": String(CROWDED_RETRY_S) } },
  );
}

function outOfOrder(range: ByteRange, offset: number): SpecError {
  return new SpecError(
    "BLOB_UPLOAD_INVALID",
    `Cannot add chunk: it starts at byte ${range.start}, want ${offset}`,
    { status: 416, headers: { Range: receivedRange(offset) } },
  );
}

/** The `Range` header of an upload: first and last byte received. Zero bytes have no such form; registries say `0-0`. */
export function receivedRange(sizeBytes: number): string {
  return `0-${Math.max(0, sizeBytes - 1)}`;
}
