import { opendir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { isDigest } from "@soci-ts/core";
import { ALGORITHMS, absentAsUndefined, TRASH } from "./blob-files.ts";
import { CatalogueRepair } from "./catalogue/inventory.ts";
import type { FsckRoom } from "./fsck-room.ts";
import { UPLOAD_IDLE_LIMIT_MS } from "./limits.ts";

const PAGE_ROWS = 500;

/** Looks for files and rows that nothing names, which a killed process leaves; a repair removes them. Only for a root that nobody has open. */
export async function checkLeftovers(room: FsckRoom): Promise<void> {
  await checkUnlinkedBlobs(room);
  await checkFiles(room);
  await checkUploads(room);
  const [unused] = room.inventory.unusedContent(1);
  if (unused === undefined) return;
  if (room.repair !== undefined) new CatalogueRepair(room.repair).removeUnusedContent();
  add(room, "unused_content", unused, "no repository has this manifest");
}

async function checkUnlinkedBlobs(room: FsckRoom): Promise<void> {
  for (let after = ""; ; ) {
    const page = room.inventory.blobs(after, PAGE_ROWS);
    for (const { digest } of page.filter(({ linked }) => linked === 0)) {
      // Its file has no row then, and goes with those.
      if (room.repair !== undefined) new CatalogueRepair(room.repair).removeUnlinkedBlob(digest);
      add(room, "unlinked_blob", digest, "no repository has this blob");
    }
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.digest;
  }
}

async function checkFiles(room: FsckRoom): Promise<void> {
  for await (const path of filesIn(room, join("blobs", TRASH))) {
    await removeFile(room, "trash", path, "its deletion was not finished");
  }
  for (const algorithm of ALGORITHMS) {
    for await (const path of filesIn(room, join("blobs", algorithm))) {
      const digest = `${algorithm}:${path.slice(path.lastIndexOf("/") + 1)}`;
      if (isDigest(digest) && room.inventory.blobSize(digest) !== undefined) continue;
      await removeFile(room, "stray_file", path, "the catalogue does not have this blob");
    }
  }
}

/** An upload may be resumed for a day. */
async function checkUploads(room: FsckRoom): Promise<void> {
  const cutoffMs = Date.now() - UPLOAD_IDLE_LIMIT_MS;
  for await (const path of filesIn(room, "uploads")) {
    const found = await stat(join(room.root, path)).catch(absentAsUndefined);
    if (found === undefined || found.mtimeMs > cutoffMs) continue;
    await removeFile(room, "idle_upload", path, "nobody went on with this upload for a day");
  }
}

async function* filesIn(room: FsckRoom, folder: string): AsyncIterable<string> {
  const directory = await opendir(join(room.root, folder)).catch(absentAsUndefined);
  if (directory === undefined) return;
  for await (const entry of directory) {
    room.signal?.throwIfAborted();
    yield join(folder, entry.name);
  }
}

async function removeFile(
  room: FsckRoom,
  kind: string,
  path: string,
  message: string,
): Promise<void> {
  if (room.repair !== undefined) await unlink(join(room.root, path));
  add(room, kind, path, message);
}

function add(room: FsckRoom, kind: string, about: string, message: string): void {
  const isRepaired = room.repair !== undefined;
  room.findings.add({ severity: "leftover", kind, about, message, isRepaired });
}
