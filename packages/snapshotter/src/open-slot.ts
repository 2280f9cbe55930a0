import { type FileHandle, open, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import {
  AppError,
  type ByteSource,
  checkRange,
  type Digest,
  type IoOptions,
  type Logger,
  type Metrics,
  verifyDigest,
} from "@soci-ts/core";
import { decodeZtoc, HeaderTable, type LayerIndex } from "@soci-ts/layer-index";
import {
  type CacheSpace,
  findStreamedLayer,
  type LazyLayer,
  openLazyLayer,
  type RangeBlob,
  type Speculator,
  type StreamedLayer,
  type StreamLayerOptions,
  streamLayer,
} from "@soci-ts/lazy-layer";
import type { Descriptor } from "@soci-ts/oci";
import type { SlotData, SlotRecord } from "./mount-record.ts";

/** Opens blobs of one image, wherever they are. No I/O happens before the first read. */
export interface BlobOpener {
  openBlob(descriptor: Descriptor): RangeBlob;
}

/** A slot's uncompressed bytes. */
export interface SlotSource
  extends ByteSource,
    AsyncDisposable,
    Pick<LazyLayer, "fetchAbsent" | "judge" | "verdict"> {
  /** True if all of them are on the disk. */
  isComplete(): boolean;
  traffic(): SlotTraffic;
  /** Uncompressed bytes that are on the disk. */
  cachedBytes(): number;
  /** What of them can be given up piece by piece, because it can be fetched again that way; `undefined`: nothing. */
  readonly cache?: SlotCache | undefined;
  /** What another thread may read by itself, and tells of afterwards; `undefined`: nothing. */
  readonly shared?: SharedBytes | undefined;
}

/** Of a slot's layer, what its FUSE thread reads. */
export type SharedBytes = Pick<LazyLayer, "present" | "noteRead">;

/** The cache of a slot that is read by its index. */
export type SlotCache = Pick<LazyLayer, "cachedSpans" | "evictSpan" | "reclaimStrays">;

/** What reading a slot has cost since it was opened. */
export interface SlotTraffic {
  /** Requests to the registry. */
  readonly requests: number;
  /** Bytes that came from there. */
  readonly bytesFetched: number;
  /** Uncompressed bytes that were read from the slot. */
  readonly bytesRead: number;
}

/** What slots are opened with. */
export interface OpenSlotContext {
  /** The mount's directory. */
  readonly directory: string;
  /** The store's directory of layer caches. */
  readonly layers: string;
  readonly blobs: BlobOpener;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Shared by the slots behind one link. */
  readonly speculator?: Speculator | undefined;
  /** Told what caches take of the disk. */
  readonly space?: CacheSpace | undefined;
  /** A read fails after this long; default 60,000. */
  readonly readTimeoutMs?: number | undefined;
}

/** Opens what a slot's record names. Needs no network. @throws AppError, FormatError, DigestMismatchError if it is not as recorded. */
export async function openSlotData(
  slot: SlotRecord,
  context: OpenSlotContext,
): Promise<SlotSource> {
  const { data, layerDigest: digest } = slot;
  if (data.kind === "file") return await FileSource.open(resolve(context.directory, data.path));
  const { layers: directory, logger, metrics, speculator, space, readTimeoutMs } = context;
  const descriptor = { mediaType: data.mediaType, digest, size: data.sizeBytes };
  const { index, blob, headers } =
    data.kind === "lazy"
      ? await readSlotIndex(data, digest, context)
      : await wholeLayer({
          directory,
          descriptor,
          diffId: data.diffId,
          blobs: context.blobs,
          logger,
        });
  const layer = await openLazyLayer({
    directory,
    layerDigest: digest,
    index,
    headers,
    diffId: data.diffId,
    blob: blob ?? context.blobs.openBlob(descriptor),
    limits: readTimeoutMs === undefined ? {} : { readTimeoutMs },
    speculator,
    space,
    logger,
    ...(metrics === undefined ? {} : { metrics }),
  });
  return {
    size: layer.size,
    readAt: (offset, length, options) => layer.readAt(offset, length, options),
    isComplete: () => layer.stats().complete,
    traffic: () => layer.stats(),
    cachedBytes: () => layer.stats().cachedBytes,
    fetchAbsent: (within) => layer.fetchAbsent(within),
    judge: (options) => layer.judge(options),
    get verdict() {
      return layer.verdict;
    },
    // A blob of its own starts from the first byte for each span.
    cache: blob === undefined ? layer : undefined,
    shared: layer,
    [Symbol.asyncDispose]: () => layer.close(),
  };
}

/** What a layer is opened by. */
export interface SlotIndex {
  readonly index: LayerIndex;
  readonly headers: HeaderTable | undefined;
  readonly blob: RangeBlob | undefined;
}

/** What a layer with an index is read by, verified. @throws AppError `not_found`; DigestMismatchError, FormatError if it is damaged. */
export async function readSlotIndex(
  data: Extract<SlotData, { kind: "lazy" }>,
  layerDigest: Digest,
  { directory }: Pick<OpenSlotContext, "directory">,
): Promise<SlotIndex> {
  const bytes = await readFile(resolve(directory, data.indexPath));
  verifyDigest(`index of layer ${layerDigest}`, bytes, data.indexDigest);
  const table = await readFile(resolve(directory, data.headersPath));
  verifyDigest(`header table of layer ${layerDigest}`, table, data.headersDigest);
  return { index: decodeZtoc(bytes), headers: HeaderTable.decode(table), blob: undefined };
}

/**
 * Its index was made from the layer on this machine: there is nothing to hold its headers against. As long as there is one, nothing is fetched
 * here: a layer that has lost bytes is opened at once, and these are fetched when they are read.
 */
async function wholeLayer(options: StreamedLayerOptions): Promise<SlotIndex> {
  const found = await findStreamedLayer(streamOptions(options));
  const { index, blob } = found ?? (await streamedLayer(options));
  return { index, blob, headers: undefined };
}

/** What {@link streamedLayer} needs. */
export interface StreamedLayerOptions extends IoOptions {
  /** The store's directory of layer caches. */
  readonly directory: string;
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  readonly blobs: BlobOpener;
  readonly logger: Logger;
}

/** A layer that is read whole, or was: then nothing is fetched. @throws what `streamLayer` throws. */
export function streamedLayer(options: StreamedLayerOptions): Promise<StreamedLayer> {
  return streamLayer(streamOptions(options));
}

function streamOptions(options: StreamedLayerOptions): StreamLayerOptions {
  const { blobs, descriptor } = options;
  const open = (signal: AbortSignal): AsyncIterable<Uint8Array> =>
    blobs.openBlob(descriptor).stream(0, descriptor.size, { signal });
  return { ...options, open };
}

/** A file whose bytes do not change. */
class FileSource implements SlotSource {
  readonly verdict = undefined;
  readonly size: number;
  readonly #file: FileHandle;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.size = size;
  }

  static async open(path: string): Promise<FileSource> {
    const file = await open(path, "r");
    return new FileSource(file, (await file.stat()).size);
  }

  isComplete(): boolean {
    return true;
  }

  cachedBytes(): number {
    return this.size;
  }

  traffic(): SlotTraffic {
    return { requests: 0, bytesFetched: 0, bytesRead: 0 };
  }

  async readAt(offset: number, length: number): Promise<Uint8Array> {
    checkRange(this.size, offset, length);
    const bytes = new Uint8Array(length);
    const { bytesRead } = await this.#file.read(bytes, 0, length, offset);
    if (bytesRead === length) return bytes;
    throw new AppError("data_loss", `Cannot read ${length} bytes at ${offset}: got ${bytesRead}`);
  }

  async fetchAbsent(): Promise<undefined> {}

  async judge(): Promise<"unknown"> {
    return "unknown";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
