import type { EncodableIndex } from "../types.ts";
import { joined, type LazyBytes } from "./flat-writer.ts";
import { ALGORITHM_GZIP, ALGORITHM_UNCOMPRESSED, DEFAULT_BUILD_TOOL } from "./slots.ts";
import { encodeTarZinfo } from "./tar-zinfo.ts";
import { verifyEntry, verifySpans } from "./verify-encodable.ts";
import { writeZtoc } from "./write.ts";
import { zinfoBytes } from "./zinfo.ts";

/** How to encode. */
export interface EncodeZtocOptions {
  /** Names the builder in the ztoc. Default {@link DEFAULT_BUILD_TOOL}. */
  readonly buildTool?: string;
}

/**
 * Encodes an index as SOCI's ztoc. Equal indexes give equal bytes, here and from the reference builder. Synchronous; costs
 * some microseconds for each entry, and of memory what a ztoc without its checkpoints has: those are taken from the index when the
 * bytes are read.
 * @throws AppError `unimplemented` if a ztoc can't say what the index says: an entry that is no file but has a size, a gap
 * before a header (a global PAX header), a time outside the years 0 to 9999, an empty uncompressed layer.
 */
export function ztocBytes(index: EncodableIndex, options: EncodeZtocOptions = {}): LazyBytes {
  verifySpans(index);
  const isGzip = index.compression === "gzip";
  return writeZtoc({
    buildTool: options.buildTool ?? DEFAULT_BUILD_TOOL,
    compressedSizeBytes: index.compressedSizeBytes,
    uncompressedSizeBytes: index.uncompressedSizeBytes,
    entries: index.entries,
    onEntry: verifyEntry,
    algorithm: isGzip ? ALGORITHM_GZIP : ALGORITHM_UNCOMPRESSED,
    maxSpanId: index.spans.length - 1,
    spanDigests: index.spans.map((span) => span.digest),
    checkpoints: isGzip ? zinfoBytes(index) : tarZinfoOf(index),
  });
}

/** The same in one piece. @throws as {@link ztocBytes}. */
export function encodeZtoc(index: EncodableIndex, options: EncodeZtocOptions = {}): Uint8Array {
  return joined(ztocBytes(index, options));
}

function tarZinfoOf({ spanSizeBytes, compressedSizeBytes }: EncodableIndex): LazyBytes {
  const bytes = encodeTarZinfo({ spanSizeBytes, sizeBytes: compressedSizeBytes });
  return { sizeBytes: bytes.length, pieces: () => [bytes] };
}
