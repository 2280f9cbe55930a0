import { createRequire } from "node:module";
import { endianness } from "node:os";
import type * as Koffi from "koffi";

/**
 * The layout of `z_stream` (zlib.h) where pointers and `long` have 8 bytes:
 *
 * | offset | size | field     | | offset | size | field     |
 * |--------|------|-----------|-|--------|------|-----------|
 * | 0      | 8    | next_in   | | 56     | 8    | state     |
 * | 8      | 4    | avail_in  | | 64     | 8    | zalloc    |
 * | 16     | 8    | total_in  | | 72     | 8    | zfree     |
 * | 24     | 8    | next_out  | | 80     | 8    | opaque    |
 * | 32     | 4    | avail_out | | 88     | 4    | data_type |
 * | 40     | 8    | total_out | | 96     | 8    | adler     |
 * | 48     | 8    | msg       | | 104    | 8    | reserved  |
 *
 * `inflateInit2_` is told the size and refuses another, so a build with a different layout is noticed before its first use.
 */
export const Z_STREAM = {
  nextIn: 0,
  availIn: 8,
  nextOut: 24,
  availOut: 32,
  dataType: 88,
  sizeBytes: 112,
} as const;

/** The functions of zlib that the scan calls; `stream` is the address of a `z_stream`. */
export interface ZlibLibrary {
  /** The address of an array's memory, which must not be garbage while in use. */
  addressOf(bytes: Uint8Array): bigint;
  inflateInit2(stream: bigint, windowBits: number): number;
  inflate(stream: bigint, flush: number): number;
  inflateReset(stream: bigint): number;
  inflateEnd(stream: bigint): number;
}

let loaded: { readonly library: ZlibLibrary | undefined } | undefined;

/** The zlib that is linked into the Node binary; undefined where FFI is not installed or the symbols or layout are not there. */
export function loadZlibLibrary(): ZlibLibrary | undefined {
  loaded ??= { library: findZlib() };
  return loaded.library;
}

function findZlib(): ZlibLibrary | undefined {
  try {
    return bindZlib(createRequire(import.meta.url)("koffi") as typeof Koffi);
  } catch {
    // The FFI package is optional and has binaries for some platforms only; pako does the work then.
    return undefined;
  }
}

function bindZlib(koffi: typeof Koffi): ZlibLibrary | undefined {
  const wordBytes = Math.min(koffi.sizeof("void *"), koffi.sizeof("long"));
  if (wordBytes !== 8 || endianness() !== "LE") return undefined;
  const binary = koffi.load(null);
  const version = binary.func("zlibVersion", "str", []);
  const init = binary.func("inflateInit2_", "int", ["void *", "int", "str", "int"]);
  const library: ZlibLibrary = {
    addressOf: (bytes) => koffi.address(bytes),
    inflateInit2: (stream, windowBits) => init(stream, windowBits, version(), Z_STREAM.sizeBytes),
    inflate: binary.func("inflate", "int", ["void *", "int"]),
    inflateReset: binary.func("inflateReset", "int", ["void *"]),
    inflateEnd: binary.func("inflateEnd", "int", ["void *"]),
  };
  // Older versions can't tell the address of an array and throw here, before anything depends on it.
  const probe = library.addressOf(new Uint8Array(new ArrayBuffer(Z_STREAM.sizeBytes)));
  return probe > 0n ? library : undefined;
}
