import { type ByteString, byteStringFrom, concatBytes } from "@soci-ts/core";
import { createTarScan } from "../scan.ts";
import type { TarEntry, TarLimits } from "../types.ts";

/** Magic and version of each dialect that has one. */
export const MAGIC = { v7: "", ustar: "ustar\x0000", gnu: "ustar  \0" } as const;

/** The fields of a header block; text is latin1, so that any byte can be written. */
export interface BlockFields {
  readonly name?: string;
  readonly mode?: string;
  readonly uid?: string;
  readonly gid?: string;
  readonly size?: string | number;
  readonly mtime?: string;
  readonly flag?: string;
  readonly linkname?: string;
  readonly magic?: string;
  readonly uname?: string;
  readonly gname?: string;
  readonly devmajor?: string;
  readonly devminor?: string;
  /** Put at offset 345: the ustar prefix, or GNU's times. */
  readonly prefix?: string;
  /** Puts text at other offsets. */
  readonly extra?: Readonly<Record<number, string>>;
  /** Writes the sum of signed bytes, as old Sun tars did. */
  readonly signedSum?: boolean;
}

/** One header block with a right checksum. */
export function block(fields: BlockFields): Uint8Array {
  const bytes = Buffer.alloc(512);
  const size = typeof fields.size === "number" ? octal(fields.size, 12) : fields.size;
  const placed: [number, string | undefined][] = [
    [0, fields.name ?? "file"],
    [100, fields.mode ?? "0000644\0"],
    [108, fields.uid ?? "0000001\0"],
    [116, fields.gid ?? "0000002\0"],
    [124, size ?? octal(0, 12)],
    [136, fields.mtime ?? "00000000003\0"],
    [156, fields.flag ?? "0"],
    [157, fields.linkname],
    [257, fields.magic ?? MAGIC.ustar],
    [265, fields.uname],
    [297, fields.gname],
    [329, fields.devmajor],
    [337, fields.devminor],
    [345, fields.prefix],
    ...Object.entries(fields.extra ?? {}).map(([at, text]): [number, string] => [Number(at), text]),
  ];
  for (const [at, text] of placed) bytes.write(text ?? "", at, "latin1");
  sealBlock(bytes, 0, fields.signedSum ?? false);
  return bytes;
}

/** Writes the checksum of the block at `start`. */
export function sealBlock(bytes: Uint8Array, start: number, signedSum = false): void {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset + start, 512);
  header.write("        ", 148, "latin1");
  let sum = 0;
  for (const byte of header) sum += signedSum && byte >= 0x80 ? byte - 0x100 : byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

/** A number as a tar's numeric field of `width` bytes. */
export function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\0`;
}

/** `text` (latin1) padded to whole blocks. */
export function data(text: string): Uint8Array {
  const bytes = Buffer.alloc(Math.ceil(text.length / 512) * 512);
  bytes.write(text, "latin1");
  return bytes;
}

/** A PAX extended header with these records; `flag` is `x` or, for a global one, `g`. */
export function pax(records: readonly (readonly [string, string])[], flag = "x"): Uint8Array {
  const text = records.map(([key, value]) => paxRecord(key, value)).join("");
  return concatBytes([block({ name: "pax", flag, size: text.length }), data(text)]);
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length)
    length = String(length).length + rest.length;
  return `${length}${rest}`;
}

/** A GNU long name (`L`) or long link (`K`). */
export function gnuLong(flag: "L" | "K", text: string): Uint8Array {
  return concatBytes([
    block({ name: "././@LongLink", flag, size: text.length, magic: MAGIC.gnu }),
    data(text),
  ]);
}

/** Two zero blocks. */
export const END: Uint8Array = new Uint8Array(1024);

/** What a scan of a whole archive gave. */
export interface Scanned {
  readonly entries: TarEntry[];
  readonly endOffset: number;
}

/** Scans `archive`, pushed in pieces of `pieceBytes` whose memory is overwritten after each push. */
export function scan(
  archive: Uint8Array,
  options: { pieceBytes?: number; limits?: Partial<TarLimits> } = {},
): Scanned {
  const entries: TarEntry[] = [];
  const { pieceBytes = archive.length, limits = {} } = options;
  const tarScan = createTarScan({ onEntry: (entry) => entries.push(entry), limits });
  for (let at = 0; at < archive.length; at += pieceBytes) {
    const piece = new Uint8Array(archive.subarray(at, at + pieceBytes));
    tarScan.push(piece);
    piece.fill(0xee);
  }
  return { entries, endOffset: tarScan.finish().endOffset };
}

/** A byte string from latin1 text. */
export function bytesOf(text: string): ByteString {
  return byteStringFrom(Buffer.from(text, "latin1"));
}
