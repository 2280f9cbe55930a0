import { AppError, type ByteString, displayByteString, FormatError, roundUp } from "@soci-ts/core";
import {
  BLOCK_BYTES,
  EMPTY,
  isZeroBlock,
  parseHeader,
  type RawHeader,
  readString,
  TAR,
} from "./header.ts";
import { DEFAULT_TAR_LIMITS } from "./limits.ts";
import { applyPaxRecords, parsePaxRecords } from "./pax.ts";
import type {
  TarEntry,
  TarEntryType,
  TarLimits,
  TarScan,
  TarScanOptions,
  TarScanResult,
} from "./types.ts";

const FLAG_OLD_REGULAR = 0;
/** What a record takes in memory besides its bytes, about: without it, many tiny records would slip under the limit. */
const RECORD_COST_BYTES = 64;
const NO_RECORDS: ReadonlyMap<ByteString, ByteString> = new Map();

/** The types of the flags from `0` on. */
const FLAG_REGULAR = 0x30;
const ENTRY_TYPES: readonly TarEntryType[] = [
  "reg",
  "hardlink",
  "symlink",
  "char",
  "block",
  "dir",
  "fifo",
];

/** The entries that say something about the next entry, and are none themselves. */
type ExtensionKind = "pax" | "pax-global" | "long-name" | "long-link";

const EXTENSIONS: ReadonlyMap<number, ExtensionKind> = new Map([
  [0x78, "pax"],
  [0x67, "pax-global"],
  [0x4c, "long-name"],
  [0x4b, "long-link"],
]);

/**
 * Starts a scan of a tar archive: it finds every entry and where its bytes lie, reading each byte once and keeping none.
 *
 * What counts as an entry, what it says and which archives are malformed is as in Go's archive/tar, on which both
 * containerd's unpacker and SOCI stand. So headers may be v7, ustar, PAX, GNU or star; an unfinished end marker, or none at
 * all, is an end; a global PAX header applies to nothing. Sparse files and entry types that no container runtime
 * unpacks are refused.
 */
export function createTarScan(options: TarScanOptions): TarScan {
  return new Scanner(options);
}

/**
 * Between two calls the scanner stands in one of these states, which pass into one another in this order:
 * `#skip > 0`: inside an entry's data or padding; else `#extension`: inside an extended header's data;
 * else inside a header block; at last `#endOffset` known: past the end marker.
 */
class Scanner implements TarScan {
  readonly #onEntry: (entry: TarEntry) => void;
  readonly #limits: TarLimits;
  /** Archive offset of the next byte that `push` has not taken yet. */
  #offset = 0;
  /** Bytes of data and padding to pass over. */
  #skip = 0;
  /** How many of them are padding, which an archive may lack at its very end. */
  #padding = 0;
  /** Bytes that are needed at once: a header block, or the data of an extended header. */
  #want = BLOCK_BYTES;
  /** The first of them, if they came in pieces. */
  #pieces: Buffer | undefined;
  #gathered = 0;
  #extension: ExtensionKind | undefined;
  #sawZeroBlock = false;
  #endOffset: number | undefined;

  /** What the extended headers before the next entry said so far. */
  #headerOffset: number | undefined;
  #longName: ByteString = EMPTY;
  #longLink: ByteString = EMPTY;
  #records: ReadonlyMap<ByteString, ByteString> = NO_RECORDS;

  #previous: RawHeader | undefined;
  #entryCount = 0;
  #metadataBytes = 0;

  constructor(options: TarScanOptions) {
    this.#onEntry = options.onEntry;
    this.#limits = { ...DEFAULT_TAR_LIMITS, ...options.limits };
  }

  push(bytes: Uint8Array): void {
    const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (at < input.length && this.#endOffset === undefined) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, input.length - at);
        this.skip(skipped);
        at += skipped;
      } else if (this.#pieces === undefined && input.length - at >= this.#want) {
        const start = at;
        at += this.#want;
        this.#take(input, start);
      } else {
        at += this.#gather(input, at);
      }
    }
  }

  get skippableBytes(): number {
    return this.#endOffset === undefined ? this.#skip : Number.POSITIVE_INFINITY;
  }

  skip(lengthBytes: number): void {
    const max = this.skippableBytes;
    if (!(lengthBytes >= 0 && lengthBytes <= max)) {
      const state = `${max} bytes can be passed over`;
      throw new AppError("out_of_range", `Cannot skip ${lengthBytes} bytes of a tar: ${state}`);
    }
    if (this.#endOffset !== undefined) return;
    this.#skip -= lengthBytes;
    this.#offset += lengthBytes;
  }

  finish(): TarScanResult {
    if (this.#endOffset === undefined) {
      const missing = this.#skip - this.#padding;
      if (missing > 0)
        this.#fail(`the archive ends inside an entry's data, ${missing} bytes are missing`);
      const isInside = this.#skip === 0 && (this.#gathered > 0 || this.#extension !== undefined);
      if (isInside) {
        this.#fail(
          `the archive ends inside a header, ${this.#want - this.#gathered} bytes are missing`,
        );
      }
      this.#endOffset = this.#offset;
    }
    return { endOffset: this.#endOffset, entryCount: this.#entryCount };
  }

  #gather(input: Buffer, at: number): number {
    this.#pieces ??= Buffer.allocUnsafe(this.#want);
    const taken = input.copy(this.#pieces, this.#gathered, at);
    this.#gathered += taken;
    if (this.#gathered < this.#want) {
      this.#offset += taken;
      return taken;
    }
    const pieces = this.#pieces;
    this.#offset += taken - this.#want;
    this.#pieces = undefined;
    this.#gathered = 0;
    this.#take(pieces, 0);
    return taken;
  }

  /** Takes the `#want` bytes at `start` of `bytes`, the first of which is at `#offset` of the archive. */
  #take(bytes: Buffer, start: number): void {
    const offset = this.#offset;
    const length = this.#want;
    this.#offset += length;
    this.#want = BLOCK_BYTES;
    if (this.#extension === undefined) {
      this.#takeBlock(bytes, start, offset);
    } else {
      const kind = this.#extension;
      this.#extension = undefined;
      this.#skipPadding(length);
      this.#takeExtension(kind, bytes.subarray(start, start + length), offset);
    }
  }

  #takeBlock(bytes: Buffer, start: number, offset: number): void {
    if (bytes[start] === 0 && isZeroBlock(bytes, start)) {
      if (this.#sawZeroBlock) this.#endOffset = this.#offset;
      this.#sawZeroBlock = true;
      return;
    }
    if (this.#sawZeroBlock) {
      throw new FormatError(
        TAR,
        offset,
        "a header follows a zero block, want a second one or the end",
      );
    }
    const header = parseHeader(bytes, start, offset, this.#previous);
    this.#previous = header;
    this.#headerOffset ??= offset;
    const kind = EXTENSIONS.get(header.typeflag);
    if (kind === undefined) this.#takeEntry(header, offset);
    else this.#expectExtension(kind, header, offset);
  }

  #expectExtension(kind: ExtensionKind, header: RawHeader, offset: number): void {
    const { sizeBytes } = header;
    const max = this.#limits.maxExtendedHeaderBytes;
    if (sizeBytes < 0) throw negativeSize(header, offset);
    if (sizeBytes > max) {
      throw new AppError(
        "resource_exhausted",
        `Cannot read tar at offset ${offset}: the extended header has ${sizeBytes} bytes, want at most ${max}`,
        { details: { offset } },
      );
    }
    this.#countMetadata(sizeBytes, offset);
    this.#want = sizeBytes;
    this.#extension = kind;
    // Nothing more will come for it, so it is taken now.
    if (sizeBytes === 0) this.#take(Buffer.alloc(0), 0);
  }

  #takeExtension(kind: ExtensionKind, data: Buffer, offset: number): void {
    switch (kind) {
      case "pax":
        this.#records = parsePaxRecords(data, offset);
        this.#countMetadata(this.#records.size * RECORD_COST_BYTES, offset);
        break;
      case "pax-global":
        // It ends what came before it, like an entry, though it is none.
        parsePaxRecords(data, offset);
        this.#forgetExtensions();
        break;
      case "long-name":
        this.#longName = readString(data, 0, data.length);
        break;
      case "long-link":
        this.#longLink = readString(data, 0, data.length);
        break;
    }
  }

  #takeEntry(header: RawHeader, offset: number): void {
    if (header.sizeBytes < 0) throw negativeSize(header, offset);
    if (this.#records !== NO_RECORDS) applyPaxRecords(header, this.#records, offset);
    if (this.#longName !== EMPTY) header.name = this.#longName;
    if (this.#longLink !== EMPTY) header.linkname = this.#longLink;
    const type = typeOf(header);
    if (type === undefined) throw unknownType(header, offset);
    verifyRanges(header, offset);
    this.#countEntry(header, offset);
    const entry: TarEntry = {
      name: header.name,
      type,
      headerOffset: this.#headerOffset ?? offset,
      dataOffset: this.#offset,
      sizeBytes: header.sizeBytes,
      linkname: header.linkname,
      mode: header.mode,
      uid: header.uid,
      gid: header.gid,
      uname: header.uname,
      gname: header.gname,
      mtimeSec: header.mtimeSec,
      mtimeNsec: header.mtimeNsec,
      devmajor: header.devmajor,
      devminor: header.devminor,
      paxRecords: this.#records,
    };
    if (type === "reg") {
      this.#skipPadding(header.sizeBytes);
      this.#skip += header.sizeBytes;
    }
    this.#forgetExtensions();
    this.#onEntry(entry);
  }

  #forgetExtensions(): void {
    this.#headerOffset = undefined;
    this.#longName = EMPTY;
    this.#longLink = EMPTY;
    this.#records = NO_RECORDS;
  }

  #skipPadding(dataBytes: number): void {
    this.#padding = roundUp(dataBytes, BLOCK_BYTES) - dataBytes;
    this.#skip = this.#padding;
  }

  #countEntry(header: RawHeader, offset: number): void {
    const { maxEntries, maxNameBytes } = this.#limits;
    this.#entryCount += 1;
    if (this.#entryCount > maxEntries)
      this.#exhausted(
        offset,
        `it has ${this.#entryCount} entries or more, want at most ${maxEntries}`,
      );
    const longest = Math.max(header.name.length, header.linkname.length);
    if (longest > maxNameBytes) {
      const state = `a name or link target has ${longest} bytes, want at most ${maxNameBytes}`;
      this.#exhausted(offset, state);
    }
    this.#countMetadata(header.name.length + header.linkname.length, offset);
  }

  #countMetadata(length: number, offset: number): void {
    this.#metadataBytes += length;
    const max = this.#limits.maxMetadataBytes;
    if (this.#metadataBytes > max)
      this.#exhausted(
        offset,
        `its headers hold ${this.#metadataBytes} bytes or more, want at most ${max}`,
      );
  }

  #exhausted(offset: number, why: string): never {
    throw new AppError("resource_exhausted", `Cannot read tar at offset ${offset}: ${why}`, {
      details: { offset },
    });
  }

  #fail(message: string): never {
    throw new FormatError(TAR, this.#offset, message);
  }
}

/** Archives older than the type flags tell a directory by its name's last byte. */
function typeOf(header: RawHeader): TarEntryType | undefined {
  if (header.typeflag !== FLAG_OLD_REGULAR) return ENTRY_TYPES[header.typeflag - FLAG_REGULAR];
  return header.name.endsWith("/") ? "dir" : "reg";
}

/** Checks that what the entry says can be told in safe integers. */
function verifyRanges(header: RawHeader, offset: number): void {
  const { sizeBytes, mode, mtimeSec, devmajor, devminor } = header;
  if (sizeBytes < 0) throw negativeSize(header, offset);
  // An infinity makes the sum infinite, two of different sign make it NaN.
  if (Number.isFinite(sizeBytes + mode + mtimeSec + devmajor + devminor)) return;
  throw new FormatError(
    TAR,
    offset,
    `a number of ${showName(header)} is out of range, want less than 2^53`,
  );
}

function negativeSize(header: RawHeader, offset: number): FormatError {
  return new FormatError(
    TAR,
    offset,
    `the size of ${showName(header)} is ${header.sizeBytes}, want at least 0`,
  );
}

function unknownType(header: RawHeader, offset: number): AppError {
  const flag = displayByteString(String.fromCharCode(header.typeflag) as ByteString);
  const state = flag === "S" ? "a sparse file" : `of type "${flag}"`;
  return new AppError(
    "unimplemented",
    `Cannot read tar at offset ${offset}: ${showName(header)} is ${state}, want a plain file, directory, link, device or fifo`,
    { details: { format: TAR, offset } },
  );
}

function showName(header: RawHeader): string {
  return JSON.stringify(displayByteString(header.name));
}
