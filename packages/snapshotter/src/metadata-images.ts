import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Digest, FormatError, type Logger, roundUp } from "@soci-ts/core";
import { ErofsReader, encodeErofs } from "@soci-ts/erofs";
import {
  buildLayerTree,
  type LayerIndex,
  type LayerTree,
  type LowerView,
  mergedView,
  type OverlayXattrs,
} from "@soci-ts/layer-index";
import { replaceFile } from "./mount-directories.ts";

/** A layer of a chain, as far as its metadata image depends on it. */
export interface ImageInput {
  readonly layerDigest: Digest;
  /**
   * What the file table comes from: the digest of the ztoc, or `undefined` if the layer itself was read, which its own digest covers.
   * Part of the key, because a ztoc can lie about its layer: what one image's index says must not reach another image.
   */
  readonly ztocDigest: Digest | undefined;
  /** Length of the uncompressed tar. */
  readonly uncompressedSizeBytes: number;
  readonly entries: LayerIndex["entries"];
}

/** A layer's metadata image, kept in the store. */
export interface MetadataImage {
  /** Absolute. */
  readonly path: string;
  /** What each of its devices is: a position in the chain, 0 being the bottom layer. The first is the layer itself. */
  readonly devices: readonly number[];
}

/** Changes with anything that changes the bytes of images: then old ones are simply not found. */
const IMAGE_FORMAT = "v1";

/** A file holds an image and, after it, the sha256 of it. */
const SEAL_BYTES = 32;

/**
 * The metadata images of a chain of layers, bottom first. They are kept in a directory of the store, found by what they are made of, and
 * made if absent. An image is found by its layer alone where the layer describes every directory that it uses; else by the
 * chain, since the layers below decide what implied directories look like.
 */
export class ChainImages {
  readonly #directory: string;
  readonly #chain: (ImageInput | undefined)[];
  readonly #overlayXattrs: OverlayXattrs;
  readonly #logger: Logger;
  readonly #trees = new Map<number, LayerTree>();

  constructor(
    directory: string,
    chain: readonly ImageInput[],
    options: { readonly logger: Logger; readonly overlayXattrs?: OverlayXattrs | undefined },
  ) {
    this.#overlayXattrs = options.overlayXattrs ?? "trusted";
    const folder = this.#overlayXattrs === "user" ? `${IMAGE_FORMAT}-userxattr` : IMAGE_FORMAT;
    this.#directory = join(directory, folder);
    this.#chain = [...chain];
    this.#logger = options.logger;
  }

  /** Adds the next layer up; `undefined` stands for one whose files are not known. */
  add(input: ImageInput | undefined): void {
    this.#chain.push(input);
  }

  /**
   * The image of the layer at a position of the chain.
   * @throws FormatError if the layer's file table can't be made into a tree; AppError `failed_precondition` if it depends on a layer below
   *   whose files are not known.
   */
  async image(position: number): Promise<MetadataImage> {
    const keys = [this.#layerKey(position)];
    if (this.#isKnownTo(position)) keys.push(this.#chainKey(position));
    for (const key of keys) {
      const known = await this.#find(key, position);
      if (known !== undefined) return known;
    }
    return await this.#make(position);
  }

  async #find(key: string, position: number): Promise<MetadataImage | undefined> {
    const path = this.#path(key);
    try {
      const { devices } = new ErofsReader(readSealedImage(await readFile(path)));
      return { path, devices: devices.map(({ tag }) => this.#deviceOf(tag, position)) };
    } catch (error) {
      const { code, message } = AppError.from(error);
      if (code !== "not_found")
        this.#logger.warn("metadata image made anew", { path, error: message });
      return undefined;
    }
  }

  async #make(position: number): Promise<MetadataImage> {
    const tree = this.#tree(position);
    const key = tree.dependsOnLower ? this.#chainKey(position) : this.#layerKey(position);
    const devices = tree.devices.map((ref) => (ref === "self" ? position : ref));
    const image = encodeErofs(tree.root, {
      devices: devices.map((device) => ({
        sizeBytes: roundUp(this.#input(device).uncompressedSizeBytes, 512),
        tag: deviceTag(this.#input(device)),
      })),
      uuid: createHash("sha256").update(key).digest().subarray(0, 16),
    });
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await replaceFile(this.#path(key), sealImage(image), { flush: false });
    return { path: this.#path(key), devices };
  }

  /** A tree is made when it is asked for, and those below it only if it asks for them. */
  #tree(position: number): LayerTree {
    const known = this.#trees.get(position);
    if (known !== undefined) return known;
    const { layerDigest, entries } = this.#input(position);
    try {
      const overlayXattrs = this.#overlayXattrs;
      const tree = buildLayerTree(entries, { lower: this.#viewBelow(position), overlayXattrs });
      this.#trees.set(position, tree);
      return tree;
    } catch (error) {
      throw treeError(layerDigest, AppError.from(error));
    }
  }

  #viewBelow(position: number): LowerView {
    let view: LowerView | undefined;
    return {
      lookup: (path) => {
        view ??= mergedView(Array.from({ length: position }, (_, at) => this.#tree(at)));
        return view.lookup(path);
      },
    };
  }

  /** The layer that an image's device stands for: known by the tag, in the chain below. */
  #deviceOf(tag: string | undefined, position: number): number {
    const own = this.#input(position);
    if (tag === deviceTag(own)) return position;
    const found = this.#chain.findIndex((input) => input && deviceTag(input) === tag);
    if (found >= 0 && found < position) return found;
    throw new FormatError(
      "metadata image",
      0,
      `it has a device "${tag}", want layers of its chain`,
    );
  }

  #isKnownTo(position: number): boolean {
    return !this.#chain.slice(0, position + 1).includes(undefined);
  }

  #input(position: number): ImageInput {
    const input = this.#chain[position];
    if (input !== undefined) return input;
    throw new AppError("failed_precondition", `the files of layer ${position} are not known here`);
  }

  #path(key: string): string {
    return join(this.#directory, `${key}.erofs`);
  }

  #layerKey(position: number): string {
    return keyOf([this.#input(position)]);
  }

  #chainKey(position: number): string {
    const below = Array.from({ length: position + 1 }, (_, at) => this.#input(at));
    return keyOf(below, "chain");
  }
}

/** An image as it is kept in a file: with a checksum after it. */
export function sealImage(image: Uint8Array): Uint8Array {
  return Buffer.concat([image, createHash("sha256").update(image).digest()]);
}

/**
 * The image in a file of the store.
 * @throws FormatError if the file is damaged.
 */
export function readSealedImage(file: Uint8Array): Uint8Array {
  const image = file.subarray(0, Math.max(0, file.length - SEAL_BYTES));
  const seal = createHash("sha256").update(image).digest();
  if (seal.equals(file.subarray(image.length))) return image;
  throw new FormatError("metadata image", image.length, "its checksum does not fit its bytes");
}

function keyOf(inputs: readonly ImageInput[], kind = "layer"): string {
  const hash = createHash("sha256").update(`${kind}\n`);
  for (const { layerDigest, ztocDigest } of inputs) {
    hash.update(`${layerDigest} ${ztocDigest ?? "read"}\n`);
  }
  return hash.digest("hex");
}

/** 64 hex digits, which is what fits into a device's tag. */
function deviceTag(input: ImageInput): string {
  return keyOf([input], "device");
}

function treeError(layer: Digest, cause: AppError): AppError {
  const message = `Cannot make the file tree of layer ${layer}: ${cause.message}`;
  return new AppError(cause.code, message, { cause, details: { ...cause.details, layer } });
}
