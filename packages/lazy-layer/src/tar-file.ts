import { writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { AppError, type Digest, Digester } from "@soci-ts/core";
import { DEFAULT_SPAN_SIZE_BYTES, type LayerIndex, type Span } from "@soci-ts/layer-index";
import { CHUNK_BYTES, type ChunkMap } from "./chunk-map.ts";
import { RunningChecksums } from "./running-checksums.ts";

const WINDOW_BYTES = 2 ** 20;

/**
 * A layer's tar on its way into a file. Keeps checksums of what it was given, so that what is read back later, to be cut into
 * chunks when the spans are known, is known to be the same.
 */
export class TarFile {
  readonly #file: FileHandle;
  readonly #written = new RunningChecksums(gridEnds());
  #sizeBytes = 0;
  #failure: AppError | undefined;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Bytes given so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Why the file is not whole, if it is not: a full disk, say. */
  get failure(): AppError | undefined {
    return this.#failure;
  }

  /** Takes the next bytes. Blocks (into the page cache); never throws: after a failure it takes bytes and writes none. */
  push(bytes: Uint8Array): void {
    const position = this.#sizeBytes;
    this.#sizeBytes += bytes.length;
    if (this.#failure !== undefined) return;
    this.#written.update(bytes);
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#file.fd, bytes, done, bytes.length - done, position + done);
      }
    } catch (error) {
      this.#failure = AppError.from(error);
    }
  }

  /**
   * Reads the file back and gives the checksum of each chunk.
   * @throws AppError `data_loss` if it is not what was written.
   */
  async chunkChecksums(map: ChunkMap): Promise<Uint32Array> {
    const chunks = new RunningChecksums(chunkEnds(map));
    const readBack = new RunningChecksums(gridEnds());
    for await (const bytes of this.#read(this.#sizeBytes)) {
      readBack.update(bytes);
      chunks.update(bytes);
    }
    const at = readBack.values.findIndex((value, cell) => value !== this.#written.values[cell]);
    if (at < 0) return Uint32Array.from(chunks.values);
    throw new AppError(
      "data_loss",
      `Cannot keep the layer: the disk gives back other bytes than it was given near offset ${at * CHUNK_BYTES}`,
    );
  }

  /** The index of the tar itself, as an uncompressed layer: for layers that can't be read at an offset. */
  async plainIndex(sizeBytes: number, entries: LayerIndex["entries"]): Promise<LayerIndex> {
    const digests: Digest[] = [];
    let digester = new Digester();
    let missing = DEFAULT_SPAN_SIZE_BYTES;
    // WINDOW_BYTES divides the span size.
    for await (const bytes of this.#read(sizeBytes)) {
      digester.update(bytes);
      missing -= bytes.length;
      if (missing > 0) continue;
      digests.push(digester.digest());
      digester = new Digester();
      missing = DEFAULT_SPAN_SIZE_BYTES;
    }
    if (missing < DEFAULT_SPAN_SIZE_BYTES) digests.push(digester.digest());
    return {
      compression: "none",
      compressedSizeBytes: sizeBytes,
      uncompressedSizeBytes: sizeBytes,
      spanSizeBytes: DEFAULT_SPAN_SIZE_BYTES,
      entries,
      spans: digests.map((digest, at) => gridSpan(digest, at, sizeBytes)),
      checkpoints: [],
    };
  }

  async *#read(sizeBytes: number): AsyncGenerator<Uint8Array> {
    const window = Buffer.alloc(WINDOW_BYTES);
    for (let position = 0; position < sizeBytes; ) {
      const wanted = Math.min(WINDOW_BYTES, sizeBytes - position);
      let have = 0;
      while (have < wanted) {
        const { bytesRead } = await this.#file.read(window, have, wanted - have, position + have);
        if (bytesRead === 0) {
          throw new AppError(
            "data_loss",
            `Cannot keep the layer: its file ends at ${position + have}`,
          );
        }
        have += bytesRead;
      }
      yield window.subarray(0, wanted);
      position += wanted;
    }
  }
}

function gridSpan(digest: Digest, at: number, sizeBytes: number): Span {
  const start = at * DEFAULT_SPAN_SIZE_BYTES;
  const end = Math.min(start + DEFAULT_SPAN_SIZE_BYTES, sizeBytes);
  return {
    compressedStart: start,
    compressedEnd: end,
    uncompressedStart: start,
    uncompressedEnd: end,
    digest,
  };
}

function* gridEnds(): Generator<number> {
  for (let end = CHUNK_BYTES; ; end += CHUNK_BYTES) yield end;
}

function* chunkEnds(map: ChunkMap): Generator<number> {
  for (const { end } of map.chunks(0, map.sizeBytes)) yield end;
}
