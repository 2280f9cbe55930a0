import { AppError, checkRange, type IoOptions, verifyDigest } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import type { ImageBlob, StreamOptions } from "./image-source.ts";

/** Most bytes of a piece of a file's stream. */
export const STREAM_BYTES: number = 256 * 1024;

/** A file that can be read at any offset, as a `FileHandle` can. */
export interface ReadableFile {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
}

/** A file that is open for one use, and where in it a blob starts. Whoever asked for it disposes it. */
export interface OpenRange extends AsyncDisposable {
  readonly file: ReadableFile;
  /** In bytes. */
  readonly offset: number;
}

/** A blob in a part of a file; opened for each call, so that nothing has to be closed. */
export class FileBlob implements ImageBlob {
  readonly size: number;
  readonly #open: () => Promise<OpenRange>;

  /** @param open - called for each read; checks that the file has `size` bytes there. */
  constructor(size: number, open: () => Promise<OpenRange>) {
    this.size = size;
    this.#open = open;
  }

  async readAt(offset: number, length: number, options?: IoOptions): Promise<Uint8Array> {
    checkRange(this.size, offset, length);
    options?.signal?.throwIfAborted();
    await using range = await this.#open();
    return readExactly(range.file, range.offset + offset, new Uint8Array(length));
  }

  async *stream(start: number, end: number, options?: StreamOptions): AsyncGenerator<Uint8Array> {
    checkRange(this.size, start, end - start);
    await using range = await this.#open();
    for (let at = start; at < end; ) {
      options?.signal?.throwIfAborted();
      const length = Math.min(STREAM_BYTES, end - at);
      const room = await options?.room?.();
      const bytes = room?.subarray(0, length) ?? new Uint8Array(length);
      yield await readExactly(range.file, range.offset + at, bytes);
      at += bytes.length;
    }
  }
}

/**
 * A whole blob, checked against its digest.
 * @param what - for messages: `blob of /srv/layout`.
 * @throws AppError `resource_exhausted` if its descriptor gives it more than `maxBytes`.
 */
export async function readVerified(
  what: string,
  { blob, descriptor }: { readonly blob: ImageBlob; readonly descriptor: Descriptor },
  options: IoOptions & { readonly maxBytes: number },
): Promise<Uint8Array> {
  checkSize(descriptor.digest, descriptor.size, options.maxBytes);
  const bytes = await blob.readAt(0, descriptor.size, options);
  verifyDigest(`${what} ${descriptor.digest}`, bytes, descriptor.digest);
  return bytes;
}

/** @throws AppError `resource_exhausted` if `sizeBytes` is more than `maxBytes`. */
export function checkSize(what: string, sizeBytes: number, maxBytes: number): void {
  if (sizeBytes <= maxBytes) return;
  throw new AppError(
    "resource_exhausted",
    `Cannot read ${what}: it has ${sizeBytes} bytes, want at most ${maxBytes}`,
  );
}

/** Fills `bytes` from `offset` of the file on. @throws AppError `data_loss` if the file ends before. */
export async function readExactly(
  file: ReadableFile,
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
