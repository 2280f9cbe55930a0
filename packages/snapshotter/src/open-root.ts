import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@soci-ts/core";
import { databaseVersion } from "@soci-ts/sqlite";
import { refuseNewerStore } from "@soci-ts/store";
import { METASTORE_MIGRATIONS } from "./contract/metastore-schema.ts";
import { replaceFile } from "./mount-directories.ts";
import { LAYER_TABLE_MIGRATIONS } from "./node/layer-table.ts";
import { nodePaths } from "./node/node-paths.ts";
import { FORMAT_FILE, ROOT_FORMAT, refuseNewerRoot } from "./root-format.ts";

/**
 * Makes `root` (mode 0700) if it is absent, and sees to it that its format is on record. To be called before anything else writes below it.
 * @throws AppError `failed_precondition`, before any write, if the root, its store or a database was written by a newer version.
 */
export async function openRoot(root: string): Promise<void> {
  const isOnRecord = refuseNewerRoot(root);
  const { database, store } = nodePaths(root);
  refuseNewerDatabase(join(root, "metadata.db"), METASTORE_MIGRATIONS.length);
  refuseNewerDatabase(database, LAYER_TABLE_MIGRATIONS.length);
  await refuseNewerStore(store);
  if (isOnRecord) return;
  await mkdir(root, { recursive: true, mode: 0o700 });
  const note = `${JSON.stringify({ format: ROOT_FORMAT })}\n`;
  await replaceFile(join(root, FORMAT_FILE), note, { flush: true });
  await using directory = await open(root, "r");
  await directory.sync();
}

function refuseNewerDatabase(path: string, known: number): void {
  const version = databaseVersion(path) ?? 0;
  if (version <= known) return;
  throw new AppError(
    "failed_precondition",
    `Cannot open database "${path}": it has version ${version}, want at most ${known}; a newer version wrote it, use that one, or another --root`,
  );
}
