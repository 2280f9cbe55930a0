import { constants } from "node:fs";
import { access, type FileHandle, mkdir, open as openFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  type Digest,
  Digester,
  DigestMismatchError,
  digestAlgorithm,
  type IoOptions,
  type Logger,
  type Metrics,
  roundUp,
  silentLogger,
  silentMetrics,
} from "@soci-ts/core";
import type { EngineName } from "@soci-ts/gzip";
import {
  type BuiltLayer,
  buildLayerIndex,
  DEFAULT_SPAN_SIZE_BYTES,
  type LayerCompression,
  type LayerIndex,
} from "@soci-ts/layer-index";
import { type Descriptor, layerCompression } from "@soci-ts/oci";
import { DATA_FILE, PRESENCE_FILE, TAR_BLOCK_BYTES } from "./cache-files.ts";
import { checkIndex } from "./check-index.ts";
import { ChunkMap } from "./chunk-map.ts";
import { cacheIdentity } from "./identity.ts";
import { DEFAULT_LAYER_LIMITS, type LayerLimits } from "./limits.ts";
import { layerDirectory, WHOLE_FOLDER } from "./open-lazy-layer.ts";
import { Presence } from "./presence.ts";
import { restreamBlob } from "./restream-blob.ts";
import { TarFile } from "./tar-file.ts";
import type { RangeBlob } from "./types.ts";
import { writeWholeIndex } from "./whole-index.ts";
import { findWholeIndex, findWholeLayer, INDEX_FILE } from "./whole-layer.ts";
import { dataIdentity, writeWholeVerdict } from "./whole-verdict.ts";

/** How to stream a layer. */
export interface StreamLayerOptions extends IoOptions {
  /** Holds one folder for each layer; the same as for `openLazyLayer`. */
  readonly directory: string;
  readonly descriptor: Pick<Descriptor, "digest" | "size" | "mediaType">;
  /** Digest of the uncompressed layer, from the image's config. */
  readonly diffId: Digest;
  /** Opens the layer's blob from its start. Kept: a chunk that goes bad later may be mended by reading the layer again. */
  readonly open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly engine?: EngineName;
  readonly limits?: Partial<LayerLimits>;
  /** Told how many bytes of the blob have been worked through. */
  readonly onProgress?: (compressedBytes: number) => void;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
}

/** A layer that is on the machine, wholly unless the disk is, or was, full. */
export interface StreamedLayer {
  /** For `openLazyLayer`. */
  readonly index: LayerIndex;
  readonly entries: LayerIndex["entries"];
  /** What `openLazyLayer` must be given with this index; undefined if the layer's own blob does. */
  readonly blob: RangeBlob | undefined;
  /** True if the layer was there already, and nothing was fetched. */
  readonly isReused: boolean;
}

/** No deflate stream gives more than 1032 bytes for one; a zstd one that does is a bomb. */
const MAX_RATIO = 1100;

/** Output that is no bomb whatever it came from. */
const FREE_OUTPUT_BYTES = 64 * 2 ** 20;

/**
 * Brings a layer that has no index (small ones, zstd, odd encoders): one pass of download, inflate, hashing, indexing and
 * writing to the cache's data file. Memory does not grow with the layer, save for the index. Blob and tar digest are verified
 * before anything is kept; what is kept is found by the next call, in any process, with no network. How many layers
 * are streamed at once is the caller's choice.
 *
 * If the disk is full, a layer that can be read at an offset is still usable: its index is returned, and its bytes are fetched when they
 * are read.
 * @throws DigestMismatchError, FormatError if the blob or its tar is not what descriptor and diffID say; AppError
 * `resource_exhausted` if it exceeds a limit or the disk; `unimplemented` for an unknown kind of layer; what `open` throws; the signal's reason.
 */
export async function streamLayer(options: StreamLayerOptions): Promise<StreamedLayer> {
  const { descriptor, directory } = options;
  const compression = layerCompression(descriptor.mediaType);
  if (compression === undefined) {
    throw new AppError(
      "unimplemented",
      `Cannot read layer ${descriptor.digest}: its media type is ${JSON.stringify(descriptor.mediaType)}`,
    );
  }
  const folder = join(layerDirectory(directory, descriptor.digest), WHOLE_FOLDER);
  const reporting = {
    logger: options.logger ?? silentLogger,
    metrics: options.metrics ?? silentMetrics,
  };
  const found = await findWholeLayer(
    folder,
    { layerDigest: descriptor.digest, compression },
    reporting,
  );
  if (found !== undefined) {
    verifySame(`layer ${descriptor.digest} uncompressed`, options.diffId, found.diffId);
    return streamed(options, compression, found.index, true);
  }
  const file = await openData(folder);
  if (file instanceof AppError) {
    reporting.logger.warn("no file to keep the layer in", { folder, reason: file.message });
    return streamed(options, compression, await withoutFile(options, compression, file), false);
  }
  try {
    const index = await intoFile(options, compression, { folder, file });
    return streamed(options, compression, index, false);
  } catch (error) {
    await removeUnlessWhole(folder);
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * A layer that was streamed before, with no network and whether or not its bytes are all there still: what is gone, or damaged, is
 * fetched when it is read. Its `entries` may be empty. Undefined if its index is gone: then it must be streamed.
 * @throws DigestMismatchError if it was another layer's; AppError `failed_precondition` if a newer version wrote it.
 */
export async function findStreamedLayer(
  options: StreamLayerOptions,
): Promise<StreamedLayer | undefined> {
  const { descriptor, directory, diffId, logger = silentLogger, metrics = silentMetrics } = options;
  const compression = layerCompression(descriptor.mediaType);
  const folder = join(layerDirectory(directory, descriptor.digest), WHOLE_FOLDER);
  const found = await findWholeIndex(folder, { logger, metrics });
  if (found === undefined || compression === undefined) return undefined;
  verifySame(`layer ${descriptor.digest} uncompressed`, diffId, found.diffId);
  return streamed(options, compression, found.index, true);
}

function streamed(
  { open }: StreamLayerOptions,
  compression: LayerCompression,
  index: LayerIndex,
  isReused: boolean,
): StreamedLayer {
  const sizeBytes = index.uncompressedSizeBytes;
  const isOwnBlob = index.compression === compression;
  const blob = isOwnBlob ? undefined : restreamBlob({ compression, sizeBytes, open });
  return { index, entries: index.entries, blob, isReused };
}

interface Target {
  readonly folder: string;
  readonly file: FileHandle;
}

async function intoFile(
  options: StreamLayerOptions,
  compression: LayerCompression,
  { folder, file }: Target,
): Promise<LayerIndex> {
  const tar = new TarFile(file);
  const built = await build(options, compression, (bytes) => tar.push(bytes));
  const own = ownIndex(options, built);
  try {
    if (tar.failure !== undefined) throw tar.failure;
    const index = own ?? (await tar.plainIndex(built.uncompressedSizeBytes, built.entries));
    await keep(options, { folder, file }, { tar, index });
    return index;
  } catch (error) {
    const failure = AppError.from(error);
    if (own === undefined) throw cannotKeep(options.descriptor.digest, failure);
    options.metrics?.count("soci_layer_cache_errors_total");
    options.logger?.warn("streamed layer can't be kept", {
      layer: options.descriptor.digest,
      reason: failure.message,
    });
    await removeUnlessWhole(folder);
    // Without the bytes: the next call need not read the layer again, which a disk that stays full would make it do at each.
    await writeWholeIndex(join(folder, INDEX_FILE), options.diffId, own).catch(() => {}); // then it does
    return own;
  }
}

/** Makes what is in the data file count: presence, then the index that is looked for first. */
async function keep(
  { descriptor: { digest }, diffId }: StreamLayerOptions,
  { folder, file }: Target,
  { tar, index }: { readonly tar: TarFile; readonly index: LayerIndex },
): Promise<void> {
  const map = new ChunkMap(index.spans);
  const checksums = await tar.chunkChecksums(map);
  const named = await stat(join(folder, DATA_FILE));
  if (named.ino !== (await file.stat()).ino) {
    throw new AppError("aborted", "another process has removed the data file meanwhile");
  }
  const header = { layerDigest: digest, identity: cacheIdentity(digest, index), map };
  await Presence.create(join(folder, PRESENCE_FILE), header, checksums);
  await writeWholeIndex(join(folder, INDEX_FILE), diffId, index);
  // Whoever opens it would lengthen it to whole blocks: that must not look like a change.
  const sizeBytes = roundUp(map.sizeBytes, TAR_BLOCK_BYTES);
  if ((await file.stat()).size < sizeBytes) await file.truncate(sizeBytes);
  const data = await dataIdentity(folder);
  // It was compared while it came.
  if (data !== undefined) await writeWholeVerdict(folder, { diffId, verdict: "right", data });
}

/** The index by which the layer's blob can be read in part, if there is one. */
function ownIndex(options: StreamLayerOptions, { index }: BuiltLayer): LayerIndex | undefined {
  const { digest, size } = options.descriptor;
  const limits = { ...DEFAULT_LAYER_LIMITS, ...options.limits };
  if (index === undefined) return undefined;
  try {
    checkIndex(index, size, digest, limits);
    return index;
  } catch (error) {
    if (AppError.from(error).code === "resource_exhausted") return undefined;
    throw error;
  }
}

/** Says which layer it was, where what failed could not know. */
function layerError(layer: Digest, error: unknown): unknown {
  const { code, message, details } = AppError.from(error);
  if (message.includes(layer)) return error;
  return new AppError(code, `Cannot read layer ${layer}: ${message}`, { cause: error, details });
}

function cannotKeep(layer: Digest, failure: AppError): AppError {
  return new AppError(
    failure.code,
    `Cannot keep layer ${layer}, which can't be read in part: ${failure.message}`,
    { cause: failure },
  );
}

async function withoutFile(
  options: StreamLayerOptions,
  compression: LayerCompression,
  failure: AppError,
): Promise<LayerIndex> {
  const own = ownIndex(options, await build(options, compression, () => {}));
  if (own === undefined) throw cannotKeep(options.descriptor.digest, failure);
  return own;
}

/** One pass over the blob. Whatever fails, the error says in which layer. */
async function build(
  options: StreamLayerOptions,
  compression: LayerCompression,
  onOutput: (bytes: Uint8Array) => void,
): Promise<BuiltLayer> {
  try {
    return await buildVerified(options, compression, onOutput);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw layerError(options.descriptor.digest, error);
  }
}

/** All that the image says of the layer is verified. */
async function buildVerified(
  options: StreamLayerOptions,
  compression: LayerCompression,
  onOutput: (bytes: Uint8Array) => void,
): Promise<BuiltLayer> {
  const { descriptor, diffId, signal } = options;
  const maxBytes = options.limits?.maxLayerBytes ?? DEFAULT_LAYER_LIMITS.maxLayerBytes;
  const blobDigester = new Digester(digestAlgorithm(descriptor.digest));
  const tarDigester = new Digester(digestAlgorithm(diffId));
  let inputBytes = 0;
  let outputBytes = 0;
  const openSignal = signal ?? new AbortController().signal;
  async function* input(): AsyncGenerator<Uint8Array> {
    for await (const bytes of options.open(openSignal)) {
      inputBytes += bytes.length;
      if (inputBytes > descriptor.size) throw sizeError(descriptor, `over ${descriptor.size}`);
      if (digestAlgorithm(descriptor.digest) !== "sha256") blobDigester.update(bytes);
      yield bytes;
    }
  }
  const built = await buildLayerIndex(input(), {
    compression,
    spanSizeBytes: DEFAULT_SPAN_SIZE_BYTES,
    // The index stays on this machine.
    emptyStart: "merge",
    engine: options.engine,
    signal,
    onProgress: options.onProgress,
    onOutput: (bytes) => {
      outputBytes += bytes.length;
      if (outputBytes > Math.min(maxBytes, FREE_OUTPUT_BYTES + inputBytes * MAX_RATIO)) {
        throw bombError(descriptor.digest, inputBytes, outputBytes);
      }
      if (digestAlgorithm(diffId) !== "sha256") tarDigester.update(bytes);
      onOutput(bytes);
    },
  });
  if (inputBytes !== descriptor.size) throw sizeError(descriptor, String(inputBytes));
  const isSha256 = (digest: Digest): boolean => digestAlgorithm(digest) === "sha256";
  const blob = isSha256(descriptor.digest) ? built.layerDigest : blobDigester.digest();
  const tar = isSha256(diffId) ? built.diffId : tarDigester.digest();
  verifySame("layer", descriptor.digest, blob);
  verifySame(`layer ${descriptor.digest} uncompressed`, diffId, tar);
  return built;
}

function verifySame(what: string, expected: Digest, actual: Digest): void {
  if (expected !== actual) throw new DigestMismatchError(what, expected, actual);
}

function sizeError(descriptor: StreamLayerOptions["descriptor"], sizeBytes: string): AppError {
  return new AppError(
    "data_loss",
    `Cannot accept layer ${descriptor.digest}: it has ${sizeBytes} bytes, want ${descriptor.size}`,
  );
}

function bombError(layer: Digest, inputBytes: number, outputBytes: number): AppError {
  return new AppError(
    "resource_exhausted",
    `Cannot inflate layer ${layer}: its first ${inputBytes} bytes give over ${outputBytes - 1}, want less`,
  );
}

/** The data file, which another process may be writing at the same time: both write the same bytes. */
async function openData(folder: string): Promise<FileHandle | AppError> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const flags = constants.O_RDWR + constants.O_CREAT;
    return await openFile(join(folder, DATA_FILE), flags, 0o600);
  } catch (error) {
    return AppError.from(error);
  }
}

/** Deletes a data file that did not become whole, unless another process has made it so. */
async function removeUnlessWhole(folder: string): Promise<void> {
  try {
    await access(join(folder, INDEX_FILE));
  } catch {
    // No index file: nobody counts on the data.
    await rm(join(folder, DATA_FILE), { force: true });
    await rm(join(folder, PRESENCE_FILE), { force: true });
  }
}
