import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createOwnerName } from "./process-owner.ts";

/**
 * Puts `content` at `path` so that at any instant, power cuts included, the file is wholly the old one (or absent) or wholly the
 * new one; it is flushed when this resolves. Mode 0600.
 * @param temporaryDirectory - on the same file system; a killed writer leaves a file there, named by {@link createOwnerName}.
 */
export async function writeFileAtomically(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  temporaryDirectory: string,
): Promise<void> {
  const temporary = join(temporaryDirectory, createOwnerName());
  try {
    await writeFlushed(temporary, content);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await flushDirectory(dirname(path));
}

async function writeFlushed(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  const pieces = content instanceof Uint8Array ? [content] : content;
  // Each goes behind the one before it.
  for await (const piece of pieces) await file.writeFile(piece);
  await file.sync();
}

async function flushDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
