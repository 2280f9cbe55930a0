import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { type BuiltLayerBlob, layerOf } from "@soci-ts/testkit";

/** A tar entry as it is to be written, however wrong: no field is checked or made to fit. */
export interface RawEntry {
  /** Bytes as latin1. */
  readonly name: string;
  /** The header's type flag; default `0`, a file. */
  readonly flag?: string;
  readonly content?: Uint8Array | string;
  /** In place of the content's. */
  readonly size?: number;
  readonly mode?: number;
  readonly linkname?: string;
  readonly devmajor?: number;
  readonly devminor?: number;
  /** Extended header records that go before. */
  readonly pax?: Readonly<Record<string, string>>;
}

const BLOCK = 512;
const MiB = 2 ** 20;
const LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";

/** A tar of these entries, with its end. */
export function rawTar(entries: readonly RawEntry[]): Buffer {
  return Buffer.concat([...entries.map(rawEntry), Buffer.alloc(2 * BLOCK)]);
}

/** One entry: its extended header if it has one, its header, its content. */
export function rawEntry(entry: RawEntry): Buffer {
  const content = Buffer.from(entry.content ?? "");
  const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
  const parts = [header(entry, entry.size ?? content.length), content, padding];
  if (entry.pax === undefined) return Buffer.concat(parts);
  const records = Object.entries(entry.pax).map(([key, value]) => paxRecord(key, value));
  const extended = rawEntry({ name: "pax", flag: "x", content: Buffer.concat(records) });
  return Buffer.concat([extended, ...parts]);
}

/** A gzip layer that repeats a block of its tar (as a member of its own) so often: large, and made in no time. */
export function repeatedLayer(head: Buffer, block: Buffer, times: number): BuiltLayerBlob {
  const end = Buffer.alloc(2 * BLOCK);
  const hash = createHash("sha256").update(head);
  for (let at = 0; at < times; at += 1) hash.update(block);
  const member = gzipSync(block, { level: 9 });
  const members = Array.from({ length: times }, () => member);
  return {
    mediaType: LAYER_GZIP,
    blob: Buffer.concat([gzipSync(head), ...members, gzipSync(end)]),
    diffId: `sha256:${hash.update(end).digest("hex")}`,
  };
}

/** A layer of about a mebibyte that holds one file of `gibibytes` of zeros. */
export function zeroBomb(name: string, gibibytes: number): BuiltLayerBlob {
  const size = gibibytes * 1024 * MiB;
  return repeatedLayer(rawEntry({ name, size }), Buffer.alloc(64 * MiB), gibibytes * 16);
}

/** A layer of a tar that is whatever it is. */
export function layerOfRaw(tar: Uint8Array): BuiltLayerBlob {
  return layerOf(tar, gzipSync(tar), LAYER_GZIP);
}

function header(entry: RawEntry, size: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.write(entry.name, 0, 100, "latin1");
  bytes.write(octal(entry.mode ?? 0o644, 8), 100, "latin1");
  bytes.write(octal(0, 8), 108, "latin1");
  bytes.write(octal(0, 8), 116, "latin1");
  bytes.write(octal(size, 12), 124, "latin1");
  bytes.write(octal(1_600_000_000, 12), 136, "latin1");
  bytes.write(" ".repeat(8), 148, "latin1");
  bytes.write(entry.flag ?? "0", 156, "latin1");
  bytes.write(entry.linkname ?? "", 157, 100, "latin1");
  bytes.write("ustar\u000000", 257, "latin1");
  bytes.write(octal(entry.devmajor ?? 0, 8), 329, "latin1");
  bytes.write(octal(entry.devminor ?? 0, 8), 337, "latin1");
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\u0000 `, 148, "latin1");
  return bytes;
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\u0000`;
}

function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  const bare = Buffer.byteLength(rest, "latin1");
  let length = bare + 1;
  while (String(length).length + bare !== length) length = String(length).length + bare;
  return Buffer.from(`${length}${rest}`, "latin1");
}
