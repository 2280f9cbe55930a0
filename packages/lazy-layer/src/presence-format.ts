import { crc32 } from "node:zlib";
import { AppError, type Digest } from "@soci-ts/core";
import { CHUNK_BYTES, type ChunkMap } from "./chunk-map.ts";

/** The layout of a layer's cache directory; see FORMAT.md. */
export const CACHE_FORMAT = 1;

/** Length of the presence file's header. */
export const HEADER_BYTES = 256;

/** Length of a chunk's record. */
export const RECORD_BYTES = 8;

const MAGIC = Buffer.from("SOCILAYR", "latin1");
const AT = {
  format: 8,
  chunkBytes: 12,
  sizeBytes: 16,
  count: 24,
  checksum: 28,
  identity: 32,
  digest: 64,
};
const MARK_PRESENT = 1;

/** What a presence file is about. */
export interface PresenceHeader {
  readonly layerDigest: Digest;
  /** {@link cacheIdentity}. */
  readonly identity: Uint8Array;
  readonly map: ChunkMap;
}

/** The header's bytes. */
export function encodeHeader({ layerDigest, identity, map }: PresenceHeader): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(CACHE_FORMAT, AT.format);
  bytes.writeUInt32LE(CHUNK_BYTES, AT.chunkBytes);
  bytes.writeBigUInt64LE(BigInt(map.sizeBytes), AT.sizeBytes);
  bytes.writeUInt32LE(map.count, AT.count);
  bytes.set(identity, AT.identity);
  bytes.write(layerDigest, AT.digest, "latin1");
  // Over the header with this field still zero.
  bytes.writeUInt32LE(crc32(bytes), AT.checksum);
  return bytes;
}

/**
 * True if `bytes` are this header, exactly; false if they are anything that this version may replace.
 * @throws AppError `failed_precondition` if a newer version wrote them.
 */
export function matchesHeader(bytes: Uint8Array, expected: PresenceHeader): boolean {
  const found = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (found.length >= AT.chunkBytes && found.subarray(0, MAGIC.length).equals(MAGIC)) {
    const format = found.readUInt32LE(AT.format);
    if (format > CACHE_FORMAT) {
      throw new AppError(
        "failed_precondition",
        `Cannot open cache of layer ${expected.layerDigest}: its format is ${format}, want at most ${CACHE_FORMAT}; a newer version wrote it`,
      );
    }
  }
  return found.equals(encodeHeader(expected));
}

/** A record that says that a chunk is in the data file, with the checksum of its bytes. */
export function encodeRecord(checksum: number, target: Buffer, at: number): void {
  target.writeUInt32LE(checksum, at);
  target.writeUInt32LE(MARK_PRESENT, at + 4);
}

/** The checksum in a record; undefined if the chunk is absent. */
export function decodeRecord(bytes: Buffer, at: number): number | undefined {
  return bytes.readUInt32LE(at + 4) === MARK_PRESENT ? bytes.readUInt32LE(at) : undefined;
}
