import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type IoOptions } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { checkSize, FileBlob, type OpenRange, readExactly } from "./file-blob.ts";
import type { ImageBlob } from "./image-source.ts";
import { layoutBlobPath } from "./layout-source.ts";
import { wrapped } from "./wrapped.ts";

/** A blob's file in the layout at `root`. No I/O happens before the first read. */
export function layoutBlob(root: string, descriptor: Descriptor): ImageBlob {
  return new FileBlob(descriptor.size, () => openBlobFile(root, descriptor));
}

async function openBlobFile(root: string, descriptor: Descriptor): Promise<OpenRange> {
  const { digest, size } = descriptor;
  const path = join(root, layoutBlobPath(digest));
  const { file, sizeBytes } = await openRegular(path);
  const range = { file, offset: 0, [Symbol.asyncDispose]: () => file.close() };
  if (sizeBytes === size) return range;
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
  checkSize(path, sizeBytes, options.maxBytes);
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
