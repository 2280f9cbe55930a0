import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  checkRange,
  digestAlgorithm,
  digestHex,
  type IoOptions,
  verifyDigest,
} from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import type { ImageBlob } from "./image-source.ts";
import { wrapped } from "./wrapped.ts";

const STREAM_BYTES = 256 * 1024;

/** A blob file; opened for each call, so that nothing has to be closed. */
export class LayoutBlob implements ImageBlob {
  readonly size: number;
  readonly #root: string;
  readonly #descriptor: Descriptor;

  constructor(root: string, descriptor: Descriptor) {
    this.size = descriptor.size;
    this.#root = root;
    this.#descriptor = descriptor;
  }

  async readAt(offset: number, length: number, options?: IoOptions): Promise<Uint8Array> {
    checkRange(this.size, offset, length);
    options?.signal?.throwIfAborted();
    await using file = await openBlobFile(this.#root, this.#descriptor);
    return readExactly(file, offset, length);
  }

  async *stream(start: number, end: number, options?: IoOptions): AsyncGenerator<Uint8Array> {
    checkRange(this.size, start, end - start);
    await using file = await openBlobFile(this.#root, this.#descriptor);
    for (let at = start; at < end; at += STREAM_BYTES) {
      options?.signal?.throwIfAborted();
      yield await readExactly(file, at, Math.min(STREAM_BYTES, end - at));
    }
  }
}

/** A whole blob of a layout, checked against its digest. */
export async function readVerified(
  root: string,
  descriptor: Descriptor,
  options: IoOptions & { readonly maxBytes: number },
): Promise<Uint8Array> {
  if (descriptor.size > options.maxBytes) {
    throw new AppError(
      "resource_exhausted",
      `Cannot read ${descriptor.digest}: it has ${descriptor.size} bytes, want at most ${options.maxBytes}`,
    );
  }
  const bytes = await new LayoutBlob(root, descriptor).readAt(0, descriptor.size, options);
  verifyDigest(`blob ${descriptor.digest} of ${root}`, bytes, descriptor.digest);
  return bytes;
}

async function openBlobFile(root: string, descriptor: Descriptor): Promise<FileHandle> {
  const { digest, size } = descriptor;
  const path = join(root, "blobs", digestAlgorithm(digest), digestHex(digest));
  const { file, sizeBytes } = await openRegular(path);
  if (sizeBytes === size) return file;
  await file.close();
  throw new AppError(
    "data_loss",
    `Cannot read ${path}: it has ${sizeBytes} bytes, want ${size} as its descriptor says`,
  );
}

/** A whole file that is not named by a digest. */
export async function readBounded(
  path: string,
  options: IoOptions & { readonly maxBytes: number },
): Promise<Uint8Array> {
  options.signal?.throwIfAborted();
  const { file, sizeBytes } = await openRegular(path);
  await using _closing = file;
  if (sizeBytes > options.maxBytes) {
    throw new AppError(
      "resource_exhausted",
      `Cannot read ${path}: it has ${sizeBytes} bytes, want at most ${options.maxBytes}`,
    );
  }
  return readExactly(file, 0, sizeBytes);
}

/** O_NOFOLLOW refuses a link, O_NONBLOCK keeps a fifo from blocking us; the check is on what was opened. */
async function openRegular(path: string): Promise<{ file: FileHandle; sizeBytes: number }> {
  let file: FileHandle;
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    file = await open(path, O_RDONLY + O_NOFOLLOW + O_NONBLOCK);
  } catch (error) {
    const systemCode = (error as NodeJS.ErrnoException).code;
    const state = systemCode === "ENOENT" ? "it does not exist" : systemCode;
    if (systemCode !== "ELOOP") throw wrapped(`Cannot open ${path}: ${state}`, error);
    throw wrapped(`Cannot open ${path}: it is a link, want a file`, error, "invalid_argument");
  }
  const stat = await file.stat();
  if (stat.isFile()) return { file, sizeBytes: stat.size };
  await file.close();
  throw new AppError("invalid_argument", `Cannot open ${path}: it is not a regular file`);
}

async function readExactly(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.read(bytes, at, length - at, offset + at);
    if (bytesRead === 0) {
      throw new AppError("data_loss", `Cannot read at offset ${offset + at}: the file ends there`);
    }
    at += bytesRead;
  }
  return bytes;
}
