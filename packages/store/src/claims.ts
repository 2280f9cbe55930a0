import { type Digest, parseDigest } from "@soci-ts/core";
import type { Database } from "@soci-ts/sqlite";
import { createOwnerName, forgetDeadOwners, ownerState } from "./process-owner.ts";
import type { BlobRecord, ZtocClaim } from "./types.ts";

interface ClaimRow {
  readonly owner: string;
  readonly ztoc_digest: string | null;
  readonly size_bytes: number | null;
}

/**
 * Which living process makes the ztoc of a layer, or has made it and not named it in the catalogue yet: so that another one that wants the
 * same neither reads the layer a second time nor waits for all of the first one's work. A row of a process that has ended counts as none.
 */
export class Claims {
  readonly #database: Database;
  readonly #owner = createOwnerName();

  constructor(database: Database) {
    this.#database = database;
  }

  /** See `Store.claimZtoc`. */
  take(layerDigest: Digest, spanSizeBytes: number): ZtocClaim {
    return this.#database.transaction(() => {
      const row = this.#database
        .prepare<ClaimRow>(
          "SELECT owner, ztoc_digest, size_bytes FROM claim WHERE layer_digest = ? AND span_size_bytes = ?",
        )
        .get(layerDigest, spanSizeBytes);
      if (row !== undefined && ownerState(row.owner) !== "gone") return claimOf(row);
      this.#database
        .prepare("INSERT OR REPLACE INTO claim VALUES (?, ?, ?, NULL, NULL)")
        .run(layerDigest, spanSizeBytes, this.#owner);
      return { kind: "ours" };
    });
  }

  /** See `Store.settleClaim`. */
  settle(layerDigest: Digest, spanSizeBytes: number, made: BlobRecord | undefined): void {
    const where = "WHERE layer_digest = ? AND span_size_bytes = ? AND owner = ?";
    const key = [layerDigest, spanSizeBytes, this.#owner] as const;
    if (made === undefined) this.#database.prepare(`DELETE FROM claim ${where}`).run(...key);
    else {
      this.#database
        .prepare(`UPDATE claim SET ztoc_digest = ?, size_bytes = ? ${where}`)
        .run(made.digest, made.sizeBytes, ...key);
    }
  }

  /** Lets go of everything. */
  dropAll(): void {
    this.#database.prepare("DELETE FROM claim WHERE owner = ?").run(this.#owner);
  }

  /** Deletes the claims of processes that have ended. */
  forgetDead(): void {
    forgetDeadOwners(this.#database, "claim");
  }
}

function claimOf(row: ClaimRow): ZtocClaim {
  if (row.ztoc_digest === null || row.size_bytes === null) return { kind: "theirs" };
  return { kind: "made", digest: parseDigest(row.ztoc_digest), sizeBytes: row.size_bytes };
}
