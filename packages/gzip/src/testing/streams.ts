import { constants, crc32, deflateRawSync, gzipSync, type ZlibOptions } from "node:zlib";
import { concatBytes } from "@soci-ts/core";
import { fileLikeBytes } from "./random.ts";

/** A gzip stream and what it holds. */
export interface TestStream {
  readonly name: string;
  readonly compressed: Uint8Array;
  readonly plain: Uint8Array;
}

/** Header of ten bytes without any optional field. */
export const PLAIN_HEADER: Uint8Array = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);

/** The final empty block with fixed codes: ends any deflate stream that stands on a byte border. */
export const FINAL_EMPTY_BLOCK: Uint8Array = Uint8Array.of(3, 0);

/** An empty stored block that is not the final one, on a byte border. */
export const EMPTY_STORED_BLOCK: Uint8Array = Uint8Array.of(0, 0, 0, 255, 255);

/** A header with FEXTRA, FNAME, FCOMMENT and FHCRC. */
export function fullHeader(nameLength = 9): Uint8Array {
  const fixed = Uint8Array.of(0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 1, 2, 3, 4, 2, 3);
  const extra = Uint8Array.of(6, 0, 65, 80, 2, 0, 0, 0x1f);
  const name = new Uint8Array(nameLength + 1).fill(0xe9, 0, nameLength);
  const comment = Uint8Array.of(99, 111, 0x8b, 0);
  const covered = concatBytes([fixed, extra, name, comment]);
  const crc = crc32(covered) & 0xffff;
  return concatBytes([covered, Uint8Array.of(crc & 255, crc >>> 8)]);
}

/** The trailer of a member that holds `plain`. */
export function trailerOf(plain: Uint8Array): Uint8Array {
  const trailer = new DataView(new ArrayBuffer(8));
  trailer.setUint32(0, crc32(plain), true);
  trailer.setUint32(4, plain.length, true);
  return new Uint8Array(trailer.buffer);
}

/** One member of deflate data that is already there. */
export function memberOf(
  deflated: Uint8Array,
  plain: Uint8Array,
  header: Uint8Array = PLAIN_HEADER,
): Uint8Array {
  return concatBytes([header, deflated, trailerOf(plain)]);
}

/** Cuts bytes into pieces. */
export function cut(bytes: Uint8Array, pieceBytes: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    pieces.push(bytes.subarray(at, at + pieceBytes));
  }
  return pieces;
}

/** Deflate data whose pieces each end in a flush, as pigz writes it; `linked` pieces refer back to the one before. */
function flushedDeflate(plain: Uint8Array, finishFlush: number, linked: boolean): Uint8Array {
  let dictionary: Uint8Array | undefined;
  const pieces = cut(plain, 20000).map((piece) => {
    const options: ZlibOptions = { finishFlush, ...(dictionary && { dictionary }) };
    if (linked) dictionary = piece;
    return deflateRawSync(piece, options);
  });
  return concatBytes([...pieces, FINAL_EMPTY_BLOCK]);
}

function membersOf(plain: Uint8Array, pieceBytes: number, options: ZlibOptions = {}): Uint8Array {
  return concatBytes(cut(plain, pieceBytes).map((piece) => gzipSync(piece, options)));
}

/** Every kind of block, flush, header and member layout that builders of layers are known to write. */
export function awkwardStreams(plainBytes = 300000): TestStream[] {
  const plain = fileLikeBytes(plainBytes, 7);
  const { Z_FIXED, Z_RLE, Z_HUFFMAN_ONLY, Z_SYNC_FLUSH, Z_FULL_FLUSH } = constants;
  const single = (options: ZlibOptions): Uint8Array => gzipSync(plain, options);
  const raw = deflateRawSync(plain);
  const empty = gzipSync(new Uint8Array(0));
  const streams: Record<string, Uint8Array> = {
    "default level": single({}),
    "small blocks": single({ memLevel: 1 }),
    "stored blocks": single({ level: 0 }),
    "fixed codes": single({ strategy: Z_FIXED, memLevel: 3 }),
    "runs only": single({ strategy: Z_RLE, memLevel: 2 }),
    "huffman only": single({ strategy: Z_HUFFMAN_ONLY, memLevel: 2 }),
    "small window": single({ windowBits: 9 }),
    "one block": single({ memLevel: 9, level: 9 }),
    "sync flushes": memberOf(flushedDeflate(plain, Z_SYNC_FLUSH, false), plain),
    "full flushes": memberOf(flushedDeflate(plain, Z_FULL_FLUSH, false), plain),
    "linked pieces as from pigz": memberOf(flushedDeflate(plain, Z_SYNC_FLUSH, true), plain),
    "header with all fields": memberOf(raw, plain, fullHeader()),
    "header with a long name": memberOf(raw, plain, fullHeader(200000)),
    "a few members": membersOf(plain, 90001),
    "tiny members": membersOf(plain, 61),
    "members with all fields": concatBytes(
      cut(plain, 5000).map((piece) => memberOf(deflateRawSync(piece), piece, fullHeader())),
    ),
    "stored members": membersOf(plain, 40000, { level: 0 }),
    "empty members between and last": concatBytes([
      ...cut(plain, 30000).flatMap((piece) => [gzipSync(piece), empty, empty]),
    ]),
  };
  return Object.entries(streams).map(([name, compressed]) => ({ name, compressed, plain }));
}
