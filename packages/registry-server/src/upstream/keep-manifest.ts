import { rm, writeFile } from "node:fs/promises";
import { AppError, type Digest } from "@soci-ts/core";
import type { Cache } from "./cache.ts";

/** Puts a manifest, whose digest was checked, into the cache. False if there is no room, or it cannot be written. */
export async function keepManifest(
  cache: Cache,
  digest: Digest,
  bytes: Uint8Array,
  mediaType: string,
): Promise<boolean> {
  const reservation = cache.reserve(bytes.length);
  if (reservation === undefined) return false;
  const path = cache.partialPath();
  try {
    await writeFile(path, bytes, { flush: true });
    // It may have come as a blob before.
    if (cache.find(digest)?.mediaType === undefined) cache.remove(digest);
    cache.admit(digest, path, { sizeBytes: bytes.length, mediaType });
    return true;
  } catch (error) {
    if (AppError.from(error).code === "resource_exhausted") cache.pause();
    await rm(path, { force: true });
    return false;
  } finally {
    reservation.release();
  }
}
