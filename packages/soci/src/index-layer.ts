import { AppError, type Digest, delay, type IoOptions } from "@soci-ts/core";
import type { BuildLayerIndexOptions } from "@soci-ts/layer-index";
import { type Descriptor, layerCompression } from "@soci-ts/oci";
import type { BlobRecord, Store } from "@soci-ts/store";
import type { ImageBlob } from "./image-source.ts";
import { findInStore, holdZtoc, type ZtocFinder } from "./known-ztoc.ts";
import { kindSkipReason } from "./layer-kinds.ts";
import { MAX_ZTOC_BYTES, tooLargeReason } from "./limits.ts";
import type { LayerThreads, ThreadScanOptions } from "./threads/layer-threads.ts";
import type { BlobStream, ScanTask } from "./threads/scan-layer.ts";
import { wrapped } from "./wrapped.ts";

/** How to index one layer. */
export interface IndexLayerOptions extends IoOptions {
  readonly store: Store;
  readonly layer: Descriptor;
  /** What the image config says the uncompressed layer's digest is. */
  readonly diffId: Digest;
  readonly openBlob: (descriptor: Descriptor) => ImageBlob;
  readonly spanSizeBytes: number;
  readonly minLayerSizeBytes: number;
  readonly engine?: BuildLayerIndexOptions["engine"];
  /** Does the work. */
  readonly scan: LayerThreads["scan"];
  /** Read the layer whatever is known of it. */
  readonly force: boolean;
  /** Asked for a ztoc that others made, when the store has none. */
  readonly findElsewhere: ZtocFinder | undefined;
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
}

/**
 * What became of a layer: a ztoc in the store (`reused` if it was there already or another process made it meanwhile, `found` if it
 * comes from the image's registry), or the reason why it has none.
 */
export type LayerOutcome =
  | {
      readonly kind: "indexed" | "reused" | "found";
      readonly digest: Digest;
      readonly sizeBytes: number;
    }
  | { readonly kind: "skipped"; readonly reason: string };

/** The end of a process that works on a layer is no event for others, so its claim is looked at so often. */
const CLAIM_POLL_MS = 100;

/**
 * Puts the ztoc of one layer into the store. Skips a layer that is too small, of a kind that can't be read at an offset,
 * or holds an entry that we do not know.
 * @throws AppError `data_loss` if the blob or its content is not what manifest and config say, or is broken.
 */
export async function indexLayer(options: IndexLayerOptions): Promise<LayerOutcome> {
  const { layer, minLayerSizeBytes } = options;
  const reason = kindSkipReason(layer);
  if (reason !== undefined) return skipped(reason);
  if (layer.size < minLayerSizeBytes) {
    return skipped(`${layer.size} bytes, below the minimum of ${minLayerSizeBytes}`);
  }
  const compression = layerCompression(layer.mediaType) === "gzip" ? "gzip" : "none";
  return options.force
    ? await buildZtoc(options, compression)
    : await shareZtoc(options, compression);
}

function skipped(reason: string): LayerOutcome {
  return { kind: "skipped", reason };
}

/** Takes what is there, waits for what another is making, else builds and lets others have it. */
async function shareZtoc(
  options: IndexLayerOptions,
  compression: ScanTask["compression"],
): Promise<LayerOutcome> {
  const { store, layer, spanSizeBytes, signal, findElsewhere } = options;
  for (;;) {
    const known = await findInStore(store, layer, spanSizeBytes);
    if (known !== undefined) return { kind: "reused", ...known };
    const claim = store.claimZtoc(layer.digest, spanSizeBytes);
    if (claim.kind === "ours") break;
    if (claim.kind === "made") {
      const made = await holdZtoc(store, claim.digest);
      return made === undefined
        ? await buildZtoc(options, compression)
        : { kind: "reused", ...made };
    }
    await delay(CLAIM_POLL_MS, signal);
  }
  let made: BlobRecord | undefined;
  try {
    // Whoever made it may have ended between the two looks: then it is in the store.
    const known = await findInStore(store, layer, spanSizeBytes);
    if (known !== undefined) {
      made = known;
      return { kind: "reused", ...known };
    }
    const found = await findElsewhere?.(layer, spanSizeBytes);
    if (found !== undefined) return { kind: "found", ...found };
    const outcome = await buildZtoc(options, compression);
    // What comes from elsewhere is not passed on: another image's creator may believe other indexes.
    if (outcome.kind === "indexed") made = outcome;
    return outcome;
  } finally {
    store.settleClaim(layer.digest, spanSizeBytes, made);
  }
}

async function buildZtoc(
  options: IndexLayerOptions,
  compression: ScanTask["compression"],
): Promise<LayerOutcome> {
  const { layer, diffId, signal, engine, spanSizeBytes, onBytes, store } = options;
  const blob = options.openBlob(layer);
  let inputFailed = false;
  const scanOptions: ThreadScanOptions<LayerOutcome> = {
    use: async ({ digest, sizeBytes, pieces }) => {
      signal?.throwIfAborted();
      if (sizeBytes > MAX_ZTOC_BYTES) return skipped(tooLargeReason(sizeBytes));
      return { kind: "indexed", ...(await store.writePieces({ digest, sizeBytes }, pieces)) };
    },
    signal,
    onBytes,
    onInputFailure: () => {
      inputFailed = true;
    },
  };
  const task: ScanTask = {
    compression,
    spanSizeBytes,
    engine,
    layerDigest: layer.digest,
    diffId,
  };
  try {
    const open: BlobStream = (room) => blob.stream(0, blob.size, { signal, room });
    return await options.scan(task, open, scanOptions);
  } catch (error) {
    signal?.throwIfAborted();
    const { code, message } = AppError.from(error);
    // A registry's "unimplemented" says nothing about the layer.
    if (code === "unimplemented" && !inputFailed) return skipped(message);
    throw wrapped(`Cannot index layer ${layer.digest}: ${message}`, error);
  }
}
