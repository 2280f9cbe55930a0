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
import type { ImageBlob, StreamOptions } from "./image-source.ts";
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
    return readExactly(file, offset, new Uint8Array(length));
  }

  async *stream(start: number, end: number, options?: StreamOptions): AsyncGenerator<Uint8Array> {
    checkRange(this.size, start, end - start);
    await using file = await openBlobFile(this.#root, this.#descriptor);
    const memory = options?.overwrites === true ? new Uint8Array(STREAM_BYTES) : undefined;
    for (let at = start; at < end; at += STREAM_BYTES) {
      options?.signal?.throwIfAborted();
      const length = Math.min(STREAM_BYTES, end - at);
      yield await readExactly(file, at, memory?.subarray(0, length) ?? new Uint8Array(length));
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
  return readExactly(file, 0, new Uint8Array(sizeBytes));
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

/** Fills `bytes`. */
async function readExactly(
  file: FileHandle,
  offset: number,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  let at = 0;
  while (at < bytes.length) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, offset + at);
    if (bytesRead === 0) {
      throw new AppError("data_loss", `Cannot read at offset ${offset + at}: the file ends there`);
    }
    at += bytesRead;
  }
  return bytes;
}
