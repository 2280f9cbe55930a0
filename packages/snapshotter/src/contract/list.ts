import { setImmediate as turn } from "node:timers/promises";
import type { Logger } from "@soci-ts/core";
import type { Database } from "@soci-ts/sqlite";
import type { SnapshotFilter } from "./filter.ts";
import { Metastore } from "./metastore.ts";
import { openMetastore } from "./metastore-schema.ts";
import { infoOf } from "./records.ts";
import type { SnapshotInfo } from "./types.ts";

/** Rows taken at a time: 100 to 300 KB. */
const PAGE_ROWS = 256;

/**
 * Reads lists of snapshots as they were when the first one was asked for, through connections of its own, whose transactions see none of what is written meanwhile.
 * A connection is used again: opening one checks the whole file.
 */
export class SnapshotLists implements Disposable {
  readonly #root: string;
  readonly #logger: Logger;
  #idle: Database | undefined;
  #isOpen = true;

  /** Lists what is in the metastore below `root`. */
  constructor(root: string, logger: Logger) {
    this.#root = root;
    this.#logger = logger;
  }

  /** The snapshots that match, oldest first. */
  async *list(filter: SnapshotFilter): AsyncGenerator<SnapshotInfo> {
    const database = this.#take();
    try {
      database.prepare("BEGIN").run();
      yield* pages(new Metastore(database), filter);
    } finally {
      database.prepare("COMMIT").run();
      this.#giveBack(database);
    }
  }

  [Symbol.dispose](): void {
    this.#isOpen = false;
    this.#idle?.close();
  }

  #take(): Database {
    const database = this.#idle;
    this.#idle = undefined;
    return database ?? openMetastore(this.#root, { logger: this.#logger });
  }

  #giveBack(database: Database): void {
    if (this.#isOpen && this.#idle === undefined) this.#idle = database;
    else database.close();
  }
}

async function* pages(metastore: Metastore, filter: SnapshotFilter): AsyncGenerator<SnapshotInfo> {
  for (let afterId = 0; ; ) {
    const page = metastore.page(afterId, PAGE_ROWS, filter.chainId);
    for (const record of page) {
      afterId = record.id;
      if (filter.matches(record)) yield infoOf(record);
    }
    if (page.length < PAGE_ROWS) return;
    // Others have their turn between pages, also if the caller takes all at once.
    await turn();
  }
}
