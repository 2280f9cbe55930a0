import { open } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, Digester, digestAlgorithm } from "@soci-ts/core";
import { absentAsUndefined, blobPath } from "./blob-files.ts";
import type { BlobRow } from "./catalogue/inventory.ts";
import type { FsckRoom } from "./fsck-room.ts";

const PAGE_ROWS = 500;
const CHUNK_BYTES: number = 1024 * 1024;

/** What a blob's file really is. */
export interface FileState {
  readonly sizeBytes: number;
  readonly digest: Digest;
}

/** Reads every blob's file. */
export async function checkBlobs(
  room: FsckRoom,
): Promise<{ readonly blobs: number; readonly blobBytes: number }> {
  let blobs = 0;
  let blobBytes = 0;
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let after = ""; ; ) {
    const page = room.inventory.blobs(after, PAGE_ROWS);
    for (const row of page) {
      await checkBlob(room, row, buffer);
      blobs += 1;
      blobBytes += row.size;
    }
    const last = page.at(-1);
    if (last === undefined) return { blobs, blobBytes };
    after = last.digest;
  }
}

async function checkBlob(room: FsckRoom, row: BlobRow, buffer: Uint8Array): Promise<void> {
  room.signal?.throwIfAborted();
  const { digest, size } = row;
  const path = blobPath(join(room.root, "blobs"), digest);
  const state = await readState(path, digest, buffer);
  const fault = faultOf(row, state);
  // Beside a service: what was deleted meanwhile has no row any more.
  if (fault === undefined || (room.isOnline && room.inventory.blobSize(digest) !== size)) return;
  room.findings.add({ severity: "fault", about: digest, ...fault });
}

function faultOf(
  { digest, size }: BlobRow,
  state: FileState | undefined,
): { kind: string; message: string } | undefined {
  if (state === undefined) return { kind: "blob_missing", message: "its file is missing" };
  if (state.sizeBytes !== size) {
    return { kind: "blob_size", message: `its file has ${state.sizeBytes} bytes, want ${size}` };
  }
  if (state.digest === digest) return undefined;
  return { kind: "blob_damaged", message: `its bytes have the digest ${state.digest}` };
}

/** Reads a file to its end; undefined if it is absent. `buffer` is overwritten. */
export async function readState(
  path: string,
  digest: Digest,
  buffer: Uint8Array,
): Promise<FileState | undefined> {
  await using file = await open(path, "r").catch(absentAsUndefined);
  if (file === undefined) return undefined;
  const digester = new Digester(digestAlgorithm(digest));
  let sizeBytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, sizeBytes);
    if (bytesRead === 0) return { sizeBytes, digest: digester.digest() };
    digester.update(buffer.subarray(0, bytesRead));
    sizeBytes += bytesRead;
  }
}
