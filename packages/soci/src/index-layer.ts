import {
  AppError,
  type Digest,
  Digester,
  DigestMismatchError,
  digestAlgorithm,
  type IoOptions,
} from "@soci-ts/core";
import {
  type BuildLayerIndexOptions,
  buildLayerIndex,
  encodeZtoc,
  type LayerIndex,
} from "@soci-ts/layer-index";
import { type Descriptor, layerCompression } from "@soci-ts/oci";
import type { Store } from "@soci-ts/store";
import type { ImageBlob } from "./image-source.ts";
import { kindSkipReason } from "./layer-kinds.ts";
import { MAX_ZTOC_BYTES, tooLargeReason } from "./limits.ts";
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
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
}

/** What became of a layer: a ztoc in the store (`reused` if it was there already), or the reason why it has none. */
export type LayerOutcome =
  | { readonly kind: "indexed" | "reused"; readonly digest: Digest; readonly sizeBytes: number }
  | { readonly kind: "skipped"; readonly reason: string };

/**
 * Puts the ztoc of one layer into the store. Skips a layer that is too small, of a kind that can't be read at an offset,
 * or holds an entry that we do not know.
 * @throws DigestMismatchError if the blob or its content is not what manifest and config say; FormatError if it is broken.
 */
export async function indexLayer(options: IndexLayerOptions): Promise<LayerOutcome> {
  const { layer, minLayerSizeBytes } = options;
  const reason = kindSkipReason(layer);
  if (reason !== undefined) return skipped(reason);
  if (layer.size < minLayerSizeBytes) {
    return skipped(`${layer.size} bytes, below the minimum of ${minLayerSizeBytes}`);
  }
  const known = await findKnown(options);
  if (known !== undefined) return known;
  const input = new LayerInput(options.openBlob(layer), options);
  try {
    const ztoc = encodeZtoc(await scanLayer(options, input));
    if (ztoc.length > MAX_ZTOC_BYTES) return skipped(tooLargeReason(ztoc.length));
    const { digest, sizeBytes } = await options.store.writeBlob(ztoc);
    return { kind: "indexed", digest, sizeBytes };
  } catch (error) {
    const { code, message } = AppError.from(error);
    // A registry's "unimplemented" says nothing about the layer.
    if (code === "unimplemented" && !input.failed) return skipped(message);
    throw wrapped(`Cannot index layer ${layer.digest}: ${message}`, error);
  }
}

function skipped(reason: string): LayerOutcome {
  return { kind: "skipped", reason };
}

/** A ztoc made earlier for the same blob and span size serves again, if the store still has it whole. */
async function findKnown(options: IndexLayerOptions): Promise<LayerOutcome | undefined> {
  const { store, layer, spanSizeBytes } = options;
  const known = store.findZtoc(layer.digest, spanSizeBytes);
  if (known === undefined) return undefined;
  try {
    const bytes = await store.readBlob(known.digest, { maxBytes: MAX_ZTOC_BYTES });
    // Writing what is there already holds it, so that no other process's `removeIndex` takes it away before ours names it.
    const { digest, sizeBytes } = await store.writeBlob(bytes);
    return { kind: "reused", digest, sizeBytes };
  } catch (error) {
    const { code } = AppError.from(error);
    if (code === "not_found" || code === "data_loss") return undefined;
    throw error;
  }
}

async function scanLayer(options: IndexLayerOptions, input: LayerInput): Promise<LayerIndex> {
  const { layer, diffId, signal, engine, spanSizeBytes, onBytes } = options;
  const compression = layerCompression(layer.mediaType) ?? "none";
  const content = new ExtraDigest(diffId);
  const built = await buildLayerIndex(input.read(), {
    compression,
    spanSizeBytes,
    onOutput: (bytes) => content.update(bytes),
    ...(engine === undefined ? {} : { engine }),
    ...(onBytes === undefined ? {} : { onProgress: onBytes }),
    ...(signal === undefined ? {} : { signal }),
  });
  input.digest.verify("the blob", built.layerDigest);
  content.verify("the uncompressed content (diffID)", built.diffId);
  if (built.index !== undefined) return built.index;
  throw new AppError("unimplemented", `media type ${layer.mediaType} can't be read at an offset`);
}

/** The stream of a layer's blob; remembers whether reading it, rather than what was read, failed. */
class LayerInput {
  readonly digest: ExtraDigest;
  readonly #blob: ImageBlob;
  readonly #signal: AbortSignal | undefined;
  #failed = false;

  constructor(blob: ImageBlob, options: IndexLayerOptions) {
    this.digest = new ExtraDigest(options.layer.digest);
    this.#blob = blob;
    this.#signal = options.signal;
  }

  get failed(): boolean {
    return this.#failed;
  }

  async *read(): AsyncGenerator<Uint8Array> {
    const stream = this.#blob.stream(0, this.#blob.size, { signal: this.#signal });
    try {
      for await (const bytes of stream) {
        this.digest.update(bytes);
        yield bytes;
      }
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }
}

/** The scan computes sha256; where a manifest or config names content by another algorithm, this computes that beside it. */
class ExtraDigest {
  readonly #want: Digest;
  readonly #digester: Digester | undefined;

  constructor(want: Digest) {
    this.#want = want;
    const algorithm = digestAlgorithm(want);
    this.#digester = algorithm === "sha256" ? undefined : new Digester(algorithm);
  }

  update(bytes: Uint8Array): void {
    this.#digester?.update(bytes);
  }

  /** Compares with the scan's sha256, or with the own one. */
  verify(what: string, scanned: Digest): void {
    const actual = this.#digester?.digest() ?? scanned;
    if (actual !== this.#want) throw new DigestMismatchError(what, this.#want, actual);
  }
}
