import { existsSync } from "node:fs";
import { mkdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { command } from "@soci-ts/testkit";

/** A layer made of this machine's files, as Docker writes one: one deflate stream, level 6. */
export interface SampleLayer {
  readonly tar: string;
  readonly gzip: string;
  readonly tarBytes: number;
  readonly gzipBytes: number;
}

const CACHE = fileURLToPath(new URL("../../.cache/bench", import.meta.url));
/** What a package layer of a language image holds: binaries, libraries, many small text files. */
const FOLDERS: readonly string[] = ["usr/bin", "usr/lib", "usr/share/perl", "usr/share/doc"];

/** Makes the layer once and keeps it. `megabytes` is about the size of the tar. */
export async function sampleLayer(megabytes: number): Promise<SampleLayer> {
  await mkdir(CACHE, { recursive: true });
  const tar = join(CACHE, `layer-${megabytes}.tar`);
  const gzip = `${tar}.gz`;
  if (!existsSync(gzip)) {
    const list = FOLDERS.join(" ");
    await command("sh", [
      "-c",
      // Files are taken as long as they fit; one that alone would be a quarter of the layer is left out.
      `cd / && find ${list} -xdev -type f -printf '%s %p\\n' | awk -v want=${megabytes * 1e6} '{ if (sum + $1 > want || $1 > want / 4) next; sum += $1; print substr($0, index($0, " ") + 1) }' > '${tar}.list' && tar --create --format=pax --files-from='${tar}.list' --file='${tar}' && gzip -6 -c '${tar}' > '${gzip}.tmp'`,
    ]);
    await rename(`${gzip}.tmp`, gzip);
  }
  return { tar, gzip, tarBytes: (await stat(tar)).size, gzipBytes: (await stat(gzip)).size };
}
