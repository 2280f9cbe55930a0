/** Bytes of history that deflate may refer back to (RFC 1951 §2). */
export const WINDOW_BYTES = 32768;

/**
 * The state that lets inflate start in the middle of a gzip stream: a point between two deflate blocks, or right after a
 * member's header. `soci-format.md` §2.4 and §2.5 fix where they lie.
 */
export interface Checkpoint {
  /** Offset in the compressed stream of the first whole byte that belongs to what follows. */
  readonly compressedOffset: number;
  /** Offset in the uncompressed stream of the first byte that inflate gives from here. */
  readonly uncompressedOffset: number;
  /** 0–7: how many of the high bits of the byte before `compressedOffset` belong to what follows. */
  readonly bits: number;
  /** The {@link WINDOW_BYTES} of output before this point, oldest first, zero-filled at the front at the start of a stream. */
  readonly window: Uint8Array;
}

/** Which inflate engine scans: `zlib` is the one inside the Node binary, reached by FFI; `pako` is pure JavaScript. */
export type EngineName = "zlib" | "pako";

/** What a scan of one gzip stream found. */
export interface GzipScanResult {
  readonly compressedSizeBytes: number;
  readonly uncompressedSizeBytes: number;
  readonly checkpoints: readonly Checkpoint[];
}

/** How to scan. */
export interface GzipScanOptions {
  /** A checkpoint is taken at the first block end that lies more than this many bytes of output after the last one. */
  readonly spanSizeBytes: number;
  /** Default: `zlib` where FFI works, else `pako`. */
  readonly engine?: EngineName;
  /** Takes the uncompressed bytes in order; they are valid only during the call. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /** Told of each checkpoint as it is found, during `push`, when all output before it has been handed over. */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
  /** False: checkpoints are only told to `onCheckpoint`, and the result lists none, so that memory does not grow. Default: true. */
  readonly keepsCheckpoints?: boolean;
  /**
   * What to do when the stream has several checkpoint places before its first byte of output (an empty first block or member).
   * `refuse` (default) throws `unimplemented`: the reference builder writes them all and its reader then rejects the ztoc.
   * `merge` keeps only the first, which is a sound index but not the one that the reference would build.
   */
  readonly emptyStart?: "refuse" | "merge";
  /** More checkpoints than this are refused with `resource_exhausted`; each holds 32 KiB. Default `DEFAULT_MAX_CHECKPOINTS` of `limits.ts`. */
  readonly maxCheckpoints?: number;
}

/** A scan in progress: input is pushed piece by piece, each wholly consumed before `push` returns. Synchronous and CPU-bound. */
export interface GzipScan extends Disposable {
  readonly engine: EngineName;
  /**
   * Any error, the caller's own from a callback included, closes the scan.
   * @throws FormatError with the offset in the compressed stream if the data is not gzip.
   * @throws AppError `unimplemented` or `resource_exhausted` as {@link GzipScanOptions} says; `failed_precondition` once closed.
   */
  push(input: Uint8Array): void;
  /** @throws FormatError if the stream ends inside a member or holds none. The scan is closed afterwards. */
  finish(): GzipScanResult;
}
