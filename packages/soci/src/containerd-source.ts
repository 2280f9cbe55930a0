import { AppError, checkRange, concatBytes, type Digest, type IoOptions } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { fullName } from "./full-name.ts";
import { imageSource, verifiedDocuments } from "./image-medium.ts";
import type { ImageBlob } from "./image-source.ts";
import type { ImageTree } from "./image-tree.ts";

const PREFIX = "containerd:";

/** What reading an image needs of containerd, all in one of its namespaces; gRPC is left to whoever implements it. */
export interface ContainerdContent {
  /** What the image of exactly this name stands for. @throws AppError `not_found`. */
  findImage(name: string, options?: IoOptions): Promise<Descriptor>;
  /** Length of a blob in the content store. @throws AppError `not_found`. */
  contentSize(digest: Digest, options?: IoOptions): Promise<number>;
  /** The bytes of [start, end) of a blob, in order, in pieces of any size; not verified. */
  readContent(
    digest: Digest,
    range: { readonly start: number; readonly end: number },
    options?: IoOptions,
  ): AsyncIterable<Uint8Array>;
}

/** The name in `containerd:NAME`; undefined if `text` does not start so. @throws AppError `invalid_argument` if the name is empty. */
export function parseContainerdName(text: string): string | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const name = text.slice(PREFIX.length);
  if (name !== "") return name;
  throw new AppError("invalid_argument", `Cannot parse ${JSON.stringify(text)}: the name is empty`);
}

/**
 * An image that containerd has, read from its content store and never from a registry. Names there are full; a short one
 * (`app:v1`) is looked for as it is, then in full. Manifests that an image's index names and containerd did not pull count as absent.
 * @throws AppError, when it is used, `not_found` if there is no such image, or containerd has discarded the blobs of its layers.
 */
export function containerdImageSource(content: ContainerdContent, name: string): ImageTree {
  const openBlob = (descriptor: Descriptor): ImageBlob => new ContentBlob(content, descriptor);
  const documents = verifiedDocuments("blob of containerd,", { openBlob });
  return imageSource({
    reference: `${PREFIX}${name}`,
    async readRoot(options) {
      const descriptor = await findImage(content, name, options);
      return { descriptor, bytes: await documents.readManifest(descriptor, options) };
    },
    ...documents,
    async hasManifest({ digest }, options) {
      const size = await ifThere(content.contentSize(digest, options));
      return size !== undefined;
    },
    openBlob,
  });
}

async function findImage(
  content: ContainerdContent,
  name: string,
  options: IoOptions | undefined,
): Promise<Descriptor> {
  const found = await ifThere(content.findImage(name, options));
  if (found !== undefined) return found;
  const full = fullName(name);
  const other = full === undefined || full === name ? undefined : content.findImage(full, options);
  const foundInFull = other && (await ifThere(other));
  if (foundInFull !== undefined) return foundInFull;
  throw new AppError(
    "not_found",
    `Cannot find image ${JSON.stringify(full ?? name)} in containerd: the namespace has no image of that name`,
  );
}

async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
}

class ContentBlob implements ImageBlob {
  readonly size: number;
  readonly #content: ContainerdContent;
  readonly #digest: Digest;

  constructor(content: ContainerdContent, { digest, size }: Descriptor) {
    this.size = size;
    this.#content = content;
    this.#digest = digest;
  }

  async readAt(offset: number, length: number, options?: IoOptions): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.stream(offset, offset + length, options)) pieces.push(piece);
    return concatBytes(pieces);
  }

  async *stream(start: number, end: number, options?: IoOptions): AsyncGenerator<Uint8Array> {
    checkRange(this.size, start, end - start);
    options?.signal?.throwIfAborted();
    const actual = await ifThere(this.#content.contentSize(this.#digest, options));
    if (actual === undefined) {
      throw new AppError(
        "not_found",
        `Cannot read blob ${this.#digest} of containerd: its content store does not have it, want it pulled (and discard_unpacked_layers off)`,
      );
    }
    if (actual !== this.size) {
      throw new AppError(
        "data_loss",
        `Cannot read blob ${this.#digest} of containerd: it has ${actual} bytes, want ${this.size} as its descriptor says`,
      );
    }
    let at = start;
    for await (const piece of this.#content.readContent(this.#digest, { start, end }, options)) {
      at += piece.length;
      if (at > end) break;
      yield piece;
    }
    if (at === end) return;
    throw new AppError(
      "data_loss",
      `Cannot read blob ${this.#digest} of containerd: the bytes end at ${at}, want ${end}`,
    );
  }
}
