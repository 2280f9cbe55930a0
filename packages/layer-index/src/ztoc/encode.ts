import type { EncodableIndex } from "../types.ts";
import { ALGORITHM_GZIP, ALGORITHM_UNCOMPRESSED, DEFAULT_BUILD_TOOL } from "./slots.ts";
import { encodeTarZinfo } from "./tar-zinfo.ts";
import { verifyEncodable } from "./verify-encodable.ts";
import { writeZtoc, type ZtocBlob } from "./write.ts";
import { writeZinfo, zinfoSizeBytes } from "./zinfo.ts";

/** How to encode. */
export interface EncodeZtocOptions {
  /** Names the builder in the ztoc. Default {@link DEFAULT_BUILD_TOOL}. */
  readonly buildTool?: string;
}

/**
 * Encodes an index as SOCI's ztoc. Equal indexes give equal bytes, here and from the reference builder. Synchronous; costs one buffer
 * of the result's size and some microseconds for each entry.
 * @throws AppError `unimplemented` if a ztoc can't say what the index says: an entry that is no file but has a size, a gap
 * before a header (a global PAX header), a time outside the years 0 to 9999, an empty uncompressed layer.
 */
export function encodeZtoc(index: EncodableIndex, options: EncodeZtocOptions = {}): Uint8Array {
  verifyEncodable(index);
  const isGzip = index.compression === "gzip";
  return writeZtoc({
    buildTool: options.buildTool ?? DEFAULT_BUILD_TOOL,
    compressedSizeBytes: index.compressedSizeBytes,
    uncompressedSizeBytes: index.uncompressedSizeBytes,
    entries: index.entries,
    algorithm: isGzip ? ALGORITHM_GZIP : ALGORITHM_UNCOMPRESSED,
    maxSpanId: index.spans.length - 1,
    spanDigests: index.spans.map((span) => span.digest),
    checkpoints: isGzip ? zinfoOf(index) : tarZinfoOf(index),
  });
}

function zinfoOf(index: EncodableIndex): ZtocBlob {
  return {
    sizeBytes: zinfoSizeBytes(index.checkpoints.length),
    write: (target) => writeZinfo(target, index),
  };
}

function tarZinfoOf({ spanSizeBytes, compressedSizeBytes }: EncodableIndex): ZtocBlob {
  const bytes = encodeTarZinfo({ spanSizeBytes, sizeBytes: compressedSizeBytes });
  return { sizeBytes: bytes.length, write: (target) => target.set(bytes) };
}
