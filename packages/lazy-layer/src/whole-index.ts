import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { AppError, type Digest, isDigest } from "@soci-ts/core";
import { decodeZtoc, encodeZtoc, type LayerIndex } from "@soci-ts/layer-index";
import { replaceFile } from "./file-io.ts";
import { CACHE_FORMAT } from "./presence-format.ts";

const MAGIC = Buffer.from("SOCIWHOL", "latin1");
const AT = { format: 8, entries: 12, checksum: 16, diffId: 48, ztoc: 192 };

/** What is kept of a streamed layer besides its bytes. */
export interface WholeIndex {
  readonly diffId: Digest;
  readonly index: LayerIndex;
  /** False if a ztoc can't hold the layer's entries: then `index.entries` is empty, and they are to be read from the tar. */
  readonly hasEntries: boolean;
}

/**
 * Reads the index file of a streamed layer; undefined if there is none, or it is damaged or of an older format.
 * @throws AppError `failed_precondition` if a newer version wrote it.
 */
export async function readWholeIndex(path: string): Promise<WholeIndex | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch {
    // Absent, or not to be read: both mean that the layer is streamed anew.
    return undefined;
  }
  if (bytes.length < AT.ztoc || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const format = bytes.readUInt32LE(AT.format);
  if (format > CACHE_FORMAT) {
    throw new AppError(
      "failed_precondition",
      `Cannot read layer index ${JSON.stringify(path)}: its format is ${format}, want at most ${CACHE_FORMAT}; a newer version wrote it`,
    );
  }
  if (format < CACHE_FORMAT || !checksumOf(bytes).equals(bytes.subarray(AT.checksum, AT.diffId))) {
    return undefined;
  }
  const diffId = bytes.toString("latin1", AT.diffId, AT.ztoc).replace(/\0+$/, "");
  if (!isDigest(diffId)) return undefined;
  const index = decodeZtoc(bytes.subarray(AT.ztoc));
  return { diffId, index, hasEntries: bytes.readUInt32LE(AT.entries) === 1 };
}

/** Writes the index file; the layer's bytes and presence must be there already. */
export async function writeWholeIndex(
  path: string,
  diffId: Digest,
  index: LayerIndex,
): Promise<void> {
  const { ztoc, hasEntries } = encode(index);
  const bytes = Buffer.concat([Buffer.alloc(AT.ztoc), ztoc]);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(CACHE_FORMAT, AT.format);
  bytes.writeUInt32LE(hasEntries ? 1 : 0, AT.entries);
  bytes.write(diffId, AT.diffId, "latin1");
  checksumOf(bytes).copy(bytes, AT.checksum);
  await replaceFile(path, bytes);
}

/** Some layers are streamed for the very reason that a ztoc can't hold their entries. */
function encode(index: LayerIndex): { readonly ztoc: Uint8Array; readonly hasEntries: boolean } {
  try {
    return { ztoc: encodeZtoc(index), hasEntries: true };
  } catch (error) {
    if (AppError.from(error).code !== "unimplemented") throw error;
    return { ztoc: encodeZtoc({ ...index, entries: [] }), hasEntries: false };
  }
}

/** sha256 of all but the field that holds it. */
function checksumOf(bytes: Uint8Array): Buffer {
  return createHash("sha256")
    .update(bytes.subarray(0, AT.checksum))
    .update(bytes.subarray(AT.diffId))
    .digest();
}
