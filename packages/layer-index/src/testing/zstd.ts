import { concatBytes } from "@soci-ts/core";

/** A block of a frame: bytes as they are, or one byte many times over. */
export type ZstdBlock =
  | { readonly kind: "raw"; readonly bytes: Uint8Array }
  | { readonly kind: "repeat"; readonly byte: number; readonly count: number };

/** A zstd frame of 128 KiB window made of uncompressed blocks (RFC 8878 §3.1.1), without a checksum unless its four bytes are given. */
export function zstdFrame(blocks: readonly ZstdBlock[], checksum?: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [
    Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, checksum === undefined ? 0 : 4, 7 * 8),
  ];
  blocks.forEach((block, at) => {
    const size = block.kind === "raw" ? block.bytes.length : block.count;
    const header =
      Number(at === blocks.length - 1) + 2 * Number(block.kind === "repeat") + 8 * size;
    parts.push(
      Uint8Array.of(header % 256, Math.floor(header / 256) % 256, Math.floor(header / 65_536)),
    );
    parts.push(block.kind === "raw" ? block.bytes : Uint8Array.of(block.byte));
  });
  if (checksum !== undefined) parts.push(checksum);
  return concatBytes(parts);
}

/** `bytes` as a frame of raw blocks. */
export function rawZstdFrame(bytes: Uint8Array): Uint8Array {
  const blocks: ZstdBlock[] = [];
  for (let at = 0; at < bytes.length; at += 100_000) {
    blocks.push({ kind: "raw", bytes: bytes.subarray(at, at + 100_000) });
  }
  return zstdFrame(blocks.length === 0 ? [{ kind: "raw", bytes }] : blocks);
}

/** A frame that readers pass over. */
export function skippableFrame(bytes: Uint8Array): Uint8Array {
  const header = Buffer.from([0x5e, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  header.writeUInt32LE(bytes.length, 4);
  return concatBytes([header, bytes]);
}
