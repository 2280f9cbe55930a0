import { randomBytes } from "node:crypto";
import { type FileHandle, link, open, rename, rm } from "node:fs/promises";
import { openThere, readFully, writeFully } from "./file-io.ts";
import {
  decodeRecord,
  encodeHeader,
  encodeRecord,
  HEADER_BYTES,
  matchesHeader,
  type PresenceHeader,
  RECORD_BYTES,
} from "./presence-format.ts";

const ABSENT = 0;
/** The state of a chunk that is in the data file. */
export const PRESENT = 1;
const CORRUPT = 2;
/** On its way out: its record says absent already, its bytes may be there still. */
const LEAVING = 3;

/**
 * Which chunks are in the data file, with their checksums: a table in memory, and the file that keeps it. The file is written
 * after the data, without a flush: whatever a crash leaves behind, a record that does not fit its data fails its checksum.
 */
export class Presence {
  readonly #file: FileHandle;
  /** Shared with threads that read the data file by themselves, as `#checksums` are. */
  readonly #states: Uint8Array;
  readonly #checksums: Uint32Array;

  private constructor(file: FileHandle, count: number) {
    this.#file = file;
    this.#states = new Uint8Array(new SharedArrayBuffer(count));
    this.#checksums = new Uint32Array(new SharedArrayBuffer(count * Uint32Array.BYTES_PER_ELEMENT));
  }

  /**
   * Opens the file; undefined if there is none for this header.
   * @throws AppError `failed_precondition` if a newer version wrote it.
   */
  static async open(path: string, header: PresenceHeader): Promise<Presence | undefined> {
    let file: FileHandle;
    try {
      file = await openThere(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
    try {
      const bytes = Buffer.alloc(HEADER_BYTES);
      const { bytesRead } = await file.read(bytes, 0, HEADER_BYTES, 0);
      if (matchesHeader(bytes.subarray(0, bytesRead), header)) {
        const presence = new Presence(file, header.map.count);
        await presence.refresh(0, header.map.count);
        return presence;
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    return undefined;
  }

  /**
   * Makes the file unless another process has made it meanwhile, and never half: it gets its name when its header is written.
   * With `checksums`, every chunk is present from the start, and a file that is there is replaced.
   */
  static async create(
    path: string,
    header: PresenceHeader,
    checksums?: Uint32Array,
  ): Promise<void> {
    const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
    try {
      await using file = await open(temporary, "wx", 0o600);
      await writeFully(file, encodeHeader(header), 0);
      if (checksums === undefined) {
        await file.truncate(HEADER_BYTES + header.map.count * RECORD_BYTES);
        await link(temporary, path);
      } else {
        await writeFully(file, encodeRecords(checksums), HEADER_BYTES);
        await rename(temporary, path);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** True if the chunk is in the data file, as far as this process knows. */
  has(chunk: number): boolean {
    return this.#states[chunk] === PRESENT;
  }

  /** The state and the checksum of each chunk, as they are at any time, for another thread. */
  get shared(): { readonly states: Uint8Array; readonly checksums: Uint32Array } {
    return { states: this.#states, checksums: this.#checksums };
  }

  /** The checksums of all chunks, a copy; those of absent ones mean nothing. */
  checksums(): Uint32Array {
    return this.#checksums.slice();
  }

  /** True if `bytes` of a present chunk have this checksum. */
  matches(chunk: number, checksum: number): boolean {
    return this.#states[chunk] === PRESENT && this.#checksums[chunk] === checksum;
  }

  /** Chunks that became present when the records of [first, end) were read again: another process may have written them. */
  async refresh(first: number, end: number): Promise<number[]> {
    const bytes = Buffer.alloc((end - first) * RECORD_BYTES);
    if (!(await readFully(this.#file, bytes, HEADER_BYTES + first * RECORD_BYTES))) return [];
    const found: number[] = [];
    for (let chunk = first; chunk < end; chunk += 1) {
      const checksum = decodeRecord(bytes, (chunk - first) * RECORD_BYTES);
      if (checksum === undefined || this.#states[chunk] !== ABSENT) continue;
      this.#checksums[chunk] = checksum;
      this.#states[chunk] = PRESENT;
      found.push(chunk);
    }
    return found;
  }

  /** Marks chunks as present, here and in the file. They are present here also if writing the file fails. */
  async mark(first: number, checksums: Uint32Array): Promise<void> {
    this.#checksums.set(checksums, first);
    this.#states.fill(PRESENT, first, first + checksums.length);
    await writeFully(this.#file, encodeRecords(checksums), HEADER_BYTES + first * RECORD_BYTES);
  }

  /** Marks a chunk as not to be used until it is written again, here and in the file. */
  async markCorrupt(chunk: number): Promise<void> {
    this.#states[chunk] = CORRUPT;
    const nothing = Buffer.alloc(RECORD_BYTES);
    await writeFully(this.#file, nothing, HEADER_BYTES + chunk * RECORD_BYTES);
  }

  /** The checksum in a present chunk's record. */
  checksum(chunk: number): number {
    return this.#checksums[chunk] ?? 0;
  }

  /**
   * Takes present chunks out, here and then in the file: their bytes may go from when this resolves. Until {@link Presence.left} a refresh does not
   * bring them back.
   */
  async leave(chunks: readonly number[]): Promise<void> {
    const [first, last] = [chunks[0], chunks.at(-1)];
    if (first === undefined || last === undefined) return;
    for (const chunk of chunks) this.#states[chunk] = LEAVING;
    const records = Buffer.alloc((last + 1 - first) * RECORD_BYTES);
    for (let chunk = first; chunk <= last; chunk += 1) {
      if (!this.has(chunk)) continue;
      encodeRecord(this.checksum(chunk), records, (chunk - first) * RECORD_BYTES);
    }
    await writeFully(this.#file, records, HEADER_BYTES + first * RECORD_BYTES);
  }

  /** Ends what {@link Presence.leave} began: the chunks are absent, or present again. */
  async left(chunks: readonly number[], outcome: "absent" | "present"): Promise<void> {
    for (const chunk of chunks) {
      if (this.#states[chunk] !== LEAVING) continue;
      this.#states[chunk] = ABSENT;
      if (outcome === "present") await this.mark(chunk, Uint32Array.of(this.checksum(chunk)));
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function encodeRecords(checksums: Uint32Array): Buffer {
  const bytes = Buffer.alloc(checksums.length * RECORD_BYTES);
  for (const [at, checksum] of checksums.entries())
    encodeRecord(checksum, bytes, at * RECORD_BYTES);
  return bytes;
}
