import { FormatError } from "@soci-ts/core";
import { type Checkpoint, WINDOW_BYTES } from "@soci-ts/gzip";
import type { CheckpointSequence } from "../packed-checkpoints.ts";
import type { LazyBytes } from "./flat-writer.ts";

const ZINFO = "zinfo";

/*
 * The blob of checkpoints of a gzip layer, little-endian, without gaps (FORMAT.md):
 *   0  int32  count
 *   4  int64  span size
 *  12  count × { int64 compressed offset, int64 uncompressed offset, uint8 bits, byte[32768] window }
 */
const HEADER_BYTES = 4 + 8;
/** 8 + 8 + 1 + 32768 = 32785. */
const RECORD_BYTES = 8 + 8 + 1 + WINDOW_BYTES;

/** Where the first checkpoint of old blobs lies, which leave it out: behind a gzip header without options. */
const IMPLIED_COMPRESSED_OFFSET = 10;

/** What a blob is made of. */
export interface EncodableZinfo {
  readonly spanSizeBytes: number;
  readonly checkpoints: CheckpointSequence;
}

/** What the blob says. */
export interface Zinfo {
  readonly spanSizeBytes: number;
  readonly checkpoints: readonly Checkpoint[];
}

/** Length of the blob of `count` checkpoints. */
export function zinfoSizeBytes(count: number): number {
  return HEADER_BYTES + count * RECORD_BYTES;
}

/** The blob, in a piece for each checkpoint. */
export function zinfoBytes({ spanSizeBytes, checkpoints }: EncodableZinfo): LazyBytes {
  return {
    sizeBytes: zinfoSizeBytes(checkpoints.length),
    *pieces() {
      const header = new DataView(new ArrayBuffer(HEADER_BYTES));
      header.setInt32(0, checkpoints.length, true);
      header.setBigInt64(4, BigInt(spanSizeBytes), true);
      yield new Uint8Array(header.buffer);
      const record = new DataView(new ArrayBuffer(RECORD_BYTES));
      const bytes = new Uint8Array(record.buffer);
      for (const { compressedOffset, uncompressedOffset, bits, window } of checkpoints) {
        record.setBigInt64(0, BigInt(compressedOffset), true);
        record.setBigInt64(8, BigInt(uncompressedOffset), true);
        record.setUint8(16, bits);
        bytes.set(window, 17);
        yield bytes;
      }
    },
  };
}

/**
 * Reads a blob of `count` checkpoints, of either flavour: the old one leaves the first out. The windows are views of `blob`.
 * @throws FormatError if a length or an offset is out of order.
 */
export function decodeZinfo(blob: Uint8Array, count: number): Zinfo {
  const isOld = blob.length === zinfoSizeBytes(count - 1);
  if (!isOld && blob.length !== zinfoSizeBytes(count)) {
    throw new FormatError(
      ZINFO,
      0,
      `it has ${blob.length} bytes, want ${zinfoSizeBytes(count)} for ${count} spans`,
    );
  }
  const view = new DataView(blob.buffer, blob.byteOffset, blob.length);
  const stated = view.getInt32(0, true);
  if (stated !== count) {
    throw new FormatError(
      ZINFO,
      0,
      `it has ${stated} checkpoints, want one for each of ${count} spans`,
    );
  }
  const spanSizeBytes = readOffset(view, 4);
  if (spanSizeBytes === 0) throw new FormatError(ZINFO, 4, "the span size is 0, want more");
  const checkpoints: Checkpoint[] = isOld ? [impliedCheckpoint()] : [];
  for (let at = HEADER_BYTES; at < blob.length; at += RECORD_BYTES) {
    checkpoints.push(readCheckpoint(view, at, checkpoints));
  }
  return { spanSizeBytes, checkpoints };
}

function impliedCheckpoint(): Checkpoint {
  return {
    compressedOffset: IMPLIED_COMPRESSED_OFFSET,
    uncompressedOffset: 0,
    bits: 0,
    window: new Uint8Array(WINDOW_BYTES),
  };
}

function readCheckpoint(view: DataView, at: number, before: readonly Checkpoint[]): Checkpoint {
  const previous = before.at(-1);
  const compressedOffset = readOffset(view, at);
  const uncompressedOffset = readOffset(view, at + 8);
  const bits = view.getUint8(at + 16);
  if (bits > 7)
    throw new FormatError(
      ZINFO,
      at + 16,
      `the bits of checkpoint ${before.length} are ${bits}, want 0 to 7`,
    );
  // No gzip header is empty, so neither can the first offset be 0.
  const isAfter =
    compressedOffset > (previous?.compressedOffset ?? 0) &&
    uncompressedOffset > (previous?.uncompressedOffset ?? -1);
  if (!isAfter)
    throw new FormatError(
      ZINFO,
      at,
      `checkpoint ${before.length} does not lie after the one before it`,
    );
  if (previous === undefined && uncompressedOffset !== 0) {
    throw new FormatError(
      ZINFO,
      at + 8,
      `the first checkpoint is at ${uncompressedOffset}, want 0`,
    );
  }
  const window = new Uint8Array(view.buffer, view.byteOffset + at + 17, WINDOW_BYTES);
  return { compressedOffset, uncompressedOffset, bits, window };
}

function readOffset(view: DataView, at: number): number {
  const value = Number(view.getBigInt64(at, true));
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new FormatError(ZINFO, at, `an offset is ${value}, want 0 to 2^53 - 1`);
}
