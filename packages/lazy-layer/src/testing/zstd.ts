import { concatBytes } from "@soci-ts/core";

const MAX_BLOCK_BYTES = 131_072;
const RAW = 0;
const RLE = 1;

/** Bytes in a zstd frame of stored blocks (RFC 8878 §3.1.1): Node 20 has no encoder. */
export function storedZstd(bytes: Uint8Array): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += MAX_BLOCK_BYTES) {
    const part = bytes.subarray(at, at + MAX_BLOCK_BYTES);
    blocks.push(blockHeader(RAW, part.length, at + part.length === bytes.length), part);
  }
  return concatBytes([frameHeader(), ...blocks]);
}

/** `blocks` × 128 KiB of zeros in four bytes each. */
export function zstdBomb(blocks: number): Uint8Array {
  const pieces: Uint8Array[] = [frameHeader()];
  for (let at = 1; at <= blocks; at += 1) {
    pieces.push(blockHeader(RLE, MAX_BLOCK_BYTES, at === blocks), Uint8Array.of(0));
  }
  return concatBytes(pieces);
}

/** Magic, no options, a window of 1 MiB. */
function frameHeader(): Uint8Array {
  return Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 10 * 8);
}

function blockHeader(type: number, sizeBytes: number, isLast: boolean): Uint8Array {
  const header = Buffer.alloc(3);
  header.writeUIntLE(sizeBytes * 8 + type * 2 + (isLast ? 1 : 0), 0, 3);
  return header;
}
