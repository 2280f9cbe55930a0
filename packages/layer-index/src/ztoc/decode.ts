import { type Digest, FormatError, isDigest } from "@soci-ts/core";
import { type Checkpoint, MAX_EXPANSION } from "@soci-ts/gzip";
import type { TarEntry } from "@soci-ts/tar";
import { DEFAULT_LAYER_INDEX_LIMITS, type LayerIndexLimits } from "../limits.ts";
import { gridSpanCount, gridSpans, gzipSpans, type LayerSizes } from "../spans.ts";
import type { LayerIndex, Span } from "../types.ts";
import { readFiles, readPlacedFiles } from "./decode-files.ts";
import { FlatBuffer, type FlatTable } from "./flat-table.ts";
import {
  ALGORITHM_GZIP,
  ALGORITHM_UNCOMPRESSED,
  COMPRESSION_INFO,
  TOC,
  ZTOC,
  ZTOC_VERSION,
} from "./slots.ts";
import { decodeTarZinfo } from "./tar-zinfo.ts";
import { decodeZinfo } from "./zinfo.ts";

/** What a ztoc says: the index, and who built it. */
export interface DecodedZtoc extends LayerIndex {
  readonly buildTool: string;
}

/** A ztoc whose file table is decoded entry by entry, when it is asked for. */
export interface OpenedZtoc extends Omit<DecodedZtoc, "entries"> {
  readonly entryCount: number;
  /**
   * The file table; where an entry says it lies is taken as it is said. Two walks through it count against the limits twice.
   * @throws FormatError, at the entry that is malformed.
   */
  readEntries(): Generator<TarEntry, void>;
  /** The same with {@link decodeZtoc}'s check of where entries lie. */
  readPlacedEntries(): Generator<TarEntry, void>;
}

/**
 * Decodes a ztoc of any builder. The checkpoints' windows are views of `bytes`, which they keep in memory.
 * Nothing is taken on trust: offsets lie in order and inside the layer, so that what the index says can be read or fails at
 * a digest.
 * @throws FormatError if it is malformed or contradicts itself; AppError `resource_exhausted` if a limit is exceeded.
 */
export function decodeZtoc(bytes: Uint8Array, limits: Partial<LayerIndexLimits> = {}): DecodedZtoc {
  const { entryCount: _, readEntries: __, readPlacedEntries, ...rest } = openZtoc(bytes, limits);
  return { ...rest, entries: [...readPlacedEntries()] };
}

/**
 * Does what {@link decodeZtoc} does, but leaves the file table to be walked through: for those who need each entry once.
 * @throws FormatError if something else than the file table is malformed.
 */
export function openZtoc(bytes: Uint8Array, limits: Partial<LayerIndexLimits> = {}): OpenedZtoc {
  const allLimits: LayerIndexLimits = { ...DEFAULT_LAYER_INDEX_LIMITS, ...limits };
  const buffer = new FlatBuffer(bytes, "ztoc", allLimits.maxMetadataBytes);
  const root = buffer.root();
  const version = root.string(ZTOC.version);
  if (version !== ZTOC_VERSION) {
    buffer.fail(
      root.position,
      `its version is ${JSON.stringify(version.slice(0, 40))}, want ${ZTOC_VERSION}`,
    );
  }
  const sizes: LayerSizes = {
    compressedSizeBytes: root.size(ZTOC.compressedSize),
    uncompressedSizeBytes: root.size(ZTOC.uncompressedSize),
  };
  const info = root.table(ZTOC.compressionInfo);
  const toc = root.table(ZTOC.toc);
  if (info === undefined) return buffer.fail(root.position, "it has no compression info");
  if (toc === undefined) return buffer.fail(root.position, "it has no TOC");
  const layout = decodeLayout(info, sizes, allLimits);
  return {
    ...layout,
    ...sizes,
    buildTool: Buffer.from(root.string(ZTOC.buildTool), "latin1").toString("utf8"),
    entryCount: toc.offsets(TOC.metadata).count,
    readEntries: () => readFiles(toc, TOC.metadata, allLimits),
    readPlacedEntries: () => readPlacedFiles(toc, TOC.metadata, sizes, allLimits),
  };
}

type Layout = Pick<LayerIndex, "compression" | "spanSizeBytes" | "spans" | "checkpoints">;

function decodeLayout(info: FlatTable, sizes: LayerSizes, limits: LayerIndexLimits): Layout {
  const digests = decodeDigests(info, limits);
  const blob = info.bytes(COMPRESSION_INFO.checkpoints) ?? new Uint8Array(0);
  const algorithm = info.int8(COMPRESSION_INFO.algorithm, ALGORITHM_GZIP);
  switch (algorithm) {
    case ALGORITHM_GZIP: {
      const { spanSizeBytes, checkpoints } = decodeZinfo(blob, digests.length);
      const spans = gzipSpans(checkpoints, sizes, digests);
      verifyGzipSpans(info, spans, checkpoints);
      return { compression: "gzip", spanSizeBytes, spans, checkpoints };
    }
    case ALGORITHM_UNCOMPRESSED: {
      const { spanSizeBytes, sizeBytes } = decodeTarZinfo(blob);
      verifyGrid(info, { spanSizeBytes, sizeBytes, spanCount: digests.length }, sizes);
      const spans = gridSpans(spanSizeBytes, sizes, digests);
      return { compression: "none", spanSizeBytes, spans, checkpoints: [] };
    }
    default:
      return info.buffer.fail(
        info.position,
        `the compression algorithm is ${algorithm}, want 1 or 2`,
      );
  }
}

function decodeDigests(info: FlatTable, limits: LayerIndexLimits): Digest[] {
  const { buffer, position } = info;
  const maxSpanId = info.int32(COMPRESSION_INFO.maxSpanId);
  const { start, count } = info.offsets(COMPRESSION_INFO.spanDigests);
  if (count !== maxSpanId + 1 || count === 0) {
    buffer.fail(
      position,
      `it has ${count} span digests and the last span is ${maxSpanId}, want one digest for each`,
    );
  }
  if (count > limits.maxSpans) {
    buffer.exceed(`it has ${count} spans, want at most ${limits.maxSpans}`);
  }
  return Array.from({ length: count }, (_, at) => {
    const digest: string = info.stringAt(start + 4 * at);
    if (isDigest(digest)) return digest;
    throw new FormatError(buffer.format, start + 4 * at, `the digest of span ${at} is malformed`);
  });
}

function verifyGzipSpans(
  { buffer, position }: FlatTable,
  spans: readonly Span[],
  checkpoints: readonly Checkpoint[],
): void {
  spans.forEach((span, at) => {
    const compressedBytes = span.compressedEnd - span.compressedStart;
    if (compressedBytes <= 0)
      buffer.fail(position, `span ${at} ends before it starts, or with the layer`);
    const start = checkpoints[at]?.uncompressedOffset ?? 0;
    const end = checkpoints[at + 1]?.uncompressedOffset ?? span.uncompressedEnd;
    if (end - start > compressedBytes * MAX_EXPANSION) {
      buffer.fail(
        position,
        `span ${at} has ${end - start} bytes in ${compressedBytes}, want at most ${MAX_EXPANSION} times as many`,
      );
    }
  });
}

interface Grid {
  readonly spanSizeBytes: number;
  readonly sizeBytes: number;
  readonly spanCount: number;
}

function verifyGrid({ buffer, position }: FlatTable, grid: Grid, sizes: LayerSizes): void {
  if (grid.sizeBytes !== sizes.compressedSizeBytes) {
    buffer.fail(
      position,
      `the grid has ${grid.sizeBytes} bytes, want ${sizes.compressedSizeBytes} like the layer`,
    );
  }
  if (sizes.uncompressedSizeBytes > sizes.compressedSizeBytes) {
    buffer.fail(
      position,
      `the tar has ${sizes.uncompressedSizeBytes} bytes, want at most the layer's ${sizes.compressedSizeBytes}`,
    );
  }
  const want = gridSpanCount(grid.spanSizeBytes, grid.sizeBytes);
  if (grid.spanCount !== want)
    buffer.fail(position, `it has ${grid.spanCount} spans, want ${want}`);
}
