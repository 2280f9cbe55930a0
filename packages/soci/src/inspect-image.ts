import { AppError, displayByteString, type IoOptions } from "@soci-ts/core";
import { type OpenedZtoc, openZtoc } from "@soci-ts/layer-index";
import type { Descriptor } from "@soci-ts/oci";
import { DEFAULT_MIN_LAYER_SIZE_BYTES } from "./create-index.ts";
import { requireOfLayer } from "./fetch-ztoc.ts";
import { type LayerKind, layerKind, whyNoZtoc } from "./layer-kinds.ts";
import type { SociIndex, ZtocEntry } from "./soci-index.ts";

/** Which image, and by which index. */
export interface InspectImageOptions extends IoOptions {
  /** From the verified manifest. */
  readonly layers: readonly Descriptor[];
  /** The image's index; undefined if it has none. */
  readonly index: SociIndex | undefined;
  /** Reads a ztoc and checks its digest. */
  readonly readZtoc: (ztoc: ZtocEntry) => Promise<Uint8Array>;
  /** How many of the largest files are wanted. */
  readonly maxFiles: number;
}

/** What lazy loading would do with a layer. */
export interface InspectedLayer {
  readonly layer: Descriptor;
  readonly kind: LayerKind;
  /** Undefined if it would be loaded lazily; else why it would be fetched whole. */
  readonly whyNotLazy: string | undefined;
  readonly ztoc: ZtocEntry | undefined;
  /** What the ztoc says, if it can be used. */
  readonly stated:
    | (Pick<OpenedZtoc, "buildTool" | "spanSizeBytes" | "entryCount" | "uncompressedSizeBytes"> & {
        readonly spanCount: number;
      })
    | undefined;
}

/** A file of a layer that is loaded lazily. Whether a higher layer hides it is not looked at. */
export interface LargeFile {
  /** Bytes that are not UTF-8 as `\xNN`. */
  readonly name: string;
  /** Number of its layer, from 0 at the bottom. */
  readonly layer: number;
  readonly sizeBytes: number;
}

/** What lazy loading would do with an image. */
export interface InspectedImage {
  readonly layers: readonly InspectedLayer[];
  /** Largest first; equal ones in the order of the layers. */
  readonly largestFiles: readonly LargeFile[];
}

/**
 * Says what lazy loading would do with an image: which layers, by what, and why not the others. Reads the ztocs, one after the
 * other, and nothing of the layers.
 * @throws AppError if the registry or the store can't be asked; a ztoc that is gone or broken is a reason, not an error.
 */
export async function inspectImage(options: InspectImageOptions): Promise<InspectedImage> {
  const files = new LargestFiles(options.maxFiles);
  const layers: InspectedLayer[] = [];
  for (const [number, layer] of options.layers.entries()) {
    options.signal?.throwIfAborted();
    // Of its own, so that nothing stays of a ztoc that turns out to be broken.
    const own = new LargestFiles(options.maxFiles);
    const inspected = await inspectLayer(layer, options, (entry) => own.offer(number, entry));
    layers.push(inspected);
    if (inspected.stated !== undefined) files.takeAll(own);
  }
  return { layers, largestFiles: files.list() };
}

type OfferFile = (entry: Pick<LargeFile, "sizeBytes"> & { readonly name: () => string }) => void;

async function inspectLayer(
  layer: Descriptor,
  options: InspectImageOptions,
  offer: OfferFile,
): Promise<InspectedLayer> {
  const kind = layerKind(layer);
  const common = { layer, kind, ztoc: undefined, stated: undefined };
  const { index } = options;
  if (index === undefined) return { ...common, whyNotLazy: "there is no index" };
  const ztoc = index.ztocs.find(({ layerDigest }) => layerDigest === layer.digest);
  if (ztoc === undefined) {
    return { ...common, whyNotLazy: whyNoZtoc(layer, DEFAULT_MIN_LAYER_SIZE_BYTES) };
  }
  try {
    const opened = openZtoc(await options.readZtoc(ztoc));
    requireOfLayer(opened, ztoc, layer);
    for (const { type, sizeBytes, name } of opened.readPlacedEntries()) {
      if (type === "reg") offer({ sizeBytes, name: () => displayByteString(name) });
    }
    const { buildTool, spanSizeBytes, entryCount, uncompressedSizeBytes, spans } = opened;
    const spanCount = spans.length;
    const stated = { buildTool, spanSizeBytes, entryCount, uncompressedSizeBytes, spanCount };
    return { ...common, ztoc, stated, whyNotLazy: undefined };
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (!["not_found", "data_loss", "resource_exhausted"].includes(code)) throw error;
    return { ...common, ztoc, whyNotLazy: `its ztoc can't be used: ${message}` };
  }
}

/** The largest of all that is offered, in memory for as many as are wanted. */
class LargestFiles {
  readonly #max: number;
  #files: LargeFile[] = [];
  /** Smaller ones need not be looked at. */
  #floor = 0;

  constructor(max: number) {
    this.#max = max;
  }

  offer(layer: number, { sizeBytes, name }: Parameters<OfferFile>[0]): void {
    if (sizeBytes <= this.#floor) return;
    this.#files.push({ name: name(), layer, sizeBytes });
    if (this.#files.length < 2 * this.#max) return;
    this.#files = this.list();
    this.#floor = this.#files.at(-1)?.sizeBytes ?? 0;
  }

  takeAll(other: LargestFiles): void {
    this.#files = [...this.#files, ...other.#files];
    this.#files = this.list();
  }

  list(): LargeFile[] {
    return this.#files.sort((a, b) => b.sizeBytes - a.sizeBytes).slice(0, this.#max);
  }
}
