import { setImmediate as turn } from "node:timers/promises";
import type { Logger } from "@soci-ts/core";
import { parseFilters } from "./filter.ts";
import { Metastore } from "./metastore.ts";
import { openMetastore } from "./metastore-schema.ts";
import { infoOf } from "./records.ts";
import type { SnapshotInfo } from "./types.ts";

/** Rows taken at a time: 100 to 300 KB. */
const PAGE_ROWS = 256;

/**
 * All snapshots of the metastore below `root` that match one of the filters, as they were when the first was asked for: read through a connection of its own, whose one transaction
 * sees none of what is written meanwhile.
 * @throws AppError `invalid_argument` for a filter that is none, before anything is read.
 */
export async function* listSnapshots(
  root: string,
  filters: readonly string[],
  logger: Logger,
): AsyncGenerator<SnapshotInfo> {
  const matches = parseFilters(filters);
  using database = openMetastore(root, { logger });
  database.prepare("BEGIN").run();
  const metastore = new Metastore(database);
  for (let afterId = 0; ; ) {
    const page = metastore.page(afterId, PAGE_ROWS);
    for (const record of page) {
      afterId = record.id;
      if (matches(record)) yield infoOf(record);
    }
    if (page.length < PAGE_ROWS) return;
    // Others have their turn between pages, also if the caller takes all at once.
    await turn();
  }
}
