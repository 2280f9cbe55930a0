import type { ByteString } from "@soci-ts/core";

/** What an entry can be, in the words of the SOCI TOC (`soci-format.md` §2.3). */
export const TAR_ENTRY_TYPES = [
  "reg",
  "dir",
  "hardlink",
  "symlink",
  "char",
  "block",
  "fifo",
] as const;

/** What an entry is. */
export type TarEntryType = (typeof TAR_ENTRY_TYPES)[number];

/** One entry of a tar, with its long-name and PAX headers merged in as Go's archive/tar does. Names are as in the archive, not cleaned. */
export interface TarEntry {
  readonly name: ByteString;
  readonly type: TarEntryType;
  /** Where the first of this entry's headers (long-name and PAX headers included) starts in the archive. */
  readonly headerOffset: number;
  /** Where the entry's data starts: right after its last header. A multiple of 512. */
  readonly dataOffset: number;
  /** The header's size field, after PAX, never negative. Only `reg` entries have that many bytes of data; the others have none, whatever the field says. */
  readonly sizeBytes: number;
  /** Target of a symbolic or hard link; else what the header's field holds, mostly nothing. */
  readonly linkname: ByteString;
  /** The header's mode number: permissions with set-id and sticky bits (0o7777), and type bits where the archive holds them. Mask before use. */
  readonly mode: number;
  /** 0 to 2^32 − 1: wider and negative numbers are taken modulo 2^32, as ztocs and chown(2) take them. */
  readonly uid: number;
  /** Like {@link TarEntry.uid}. */
  readonly gid: number;
  readonly uname: ByteString;
  readonly gname: ByteString;
  readonly mtimeSec: number;
  /** 0–999,999,999, added to `mtimeSec`, also when that is negative. */
  readonly mtimeNsec: number;
  readonly devmajor: number;
  readonly devminor: number;
  /** All PAX records of the entry's own extended header, raw. The last of equal keys counts; one with an empty value stays, but changes no field. */
  readonly paxRecords: ReadonlyMap<ByteString, ByteString>;
}

/** Bounds on what a tar may ask of us. */
export interface TarLimits {
  /** Most entries. */
  readonly maxEntries: number;
  /** Longest name or link target, in bytes. */
  readonly maxNameBytes: number;
  /** Largest extended header (PAX or GNU long name) of one entry, in bytes. */
  readonly maxExtendedHeaderBytes: number;
  /** Most bytes of names, link targets and extended headers of all entries together; a PAX record counts 64 more. */
  readonly maxMetadataBytes: number;
}

/** How to scan. */
export interface TarScanOptions {
  /** Told of each entry as soon as its headers are read, in order, during `push`. */
  readonly onEntry: (entry: TarEntry) => void;
  /** Default for each: {@link DEFAULT_TAR_LIMITS}. */
  readonly limits?: Partial<TarLimits>;
}

/** Where a finished scan ended. */
export interface TarScanResult {
  /** Position right after the second zero block (or at the end of the input where there is none): `uncompressed_archive_size` of a ztoc. */
  readonly endOffset: number;
  readonly entryCount: number;
}

/** A scan in progress: a state machine fed with the archive's bytes in order. Not usable after it threw. */
export interface TarScan {
  /**
   * Takes the next bytes; they may be reused by the caller afterwards. File data is skipped without being looked at, and
   * so is everything after the archive's end.
   * @throws FormatError with the offset in the archive. AppError `unimplemented`, naming the entry, for a sparse file or a
   * type that no container runtime unpacks; `resource_exhausted` if a limit is exceeded.
   */
  push(bytes: Uint8Array): void;
  /**
   * How many of the next bytes are passed over without being looked at: the rest of a file's data, or all that follows the archive's end
   * (then `Infinity`). Whoever can seek need not read them.
   */
  readonly skippableBytes: number;
  /** Like `push` of so many bytes, which need not be there. @throws AppError `out_of_range` if they are more than `skippableBytes`. */
  skip(lengthBytes: number): void;
  /** @throws FormatError if the archive ends inside a header or inside an entry's data. */
  finish(): TarScanResult;
}
