import type { FileHandle } from "node:fs/promises";
import { ArchiveScan } from "./archive-entries.ts";
import { openedArchive } from "./archive-file.ts";
import type { ArchiveSourceOptions } from "./archive-source.ts";

/**
 * Writes an archive that comes as a stream into `file`, so that it can be read at any offset, and finds its entries meanwhile: what
 * is no archive, or exceeds a limit, is refused before more of it is kept. What follows the archive's end is read and not kept.
 * @param name - for messages: `stdin`.
 * @param file - empty; stays open, and the caller's to close, as long as the archive is used.
 */
export async function spoolArchive(
  name: string,
  stream: AsyncIterable<Uint8Array>,
  file: FileHandle,
): Promise<Pick<ArchiveSourceOptions, "archive" | "entries">> {
  const scan = new ArchiveScan(name);
  let sizeBytes = 0;
  for await (const bytes of stream) {
    if (scan.skippableBytes === Number.POSITIVE_INFINITY) continue;
    scan.push(bytes);
    await file.writeFile(bytes);
    sizeBytes += bytes.length;
  }
  return { archive: openedArchive(name, file, sizeBytes), entries: scan.finish() };
}
