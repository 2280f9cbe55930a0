import type { Database } from "@soci-ts/sqlite";
import type { Inventory } from "./catalogue/inventory.ts";

/** What the checks work on. */
export interface FsckRoom {
  readonly root: string;
  readonly inventory: Inventory;
  readonly findings: Findings;
  readonly isOnline: boolean;
  /** The catalogue for repairs; undefined if there are to be none. */
  readonly repair: Database | undefined;
  readonly signal: AbortSignal | undefined;
}

/** How bad a finding is: something is lost or wrong; something is of no use; something is as a client wanted it. */
export type Severity = "fault" | "leftover" | "note";

/** What {@link checkRegistry} found. */
export interface FsckFinding {
  readonly severity: Severity;
  /** A word of a closed set, such as `blob_missing`. */
  readonly kind: string;
  /** A digest, or a path below the root. */
  readonly about: string;
  readonly message: string;
  readonly isRepaired: boolean;
}

/** A finding to be added. */
export type NewFinding = Omit<FsckFinding, "isRepaired"> & { readonly isRepaired?: boolean };

/** Findings kept of each severity; the others are only counted. */
const MAX_KEPT = 10_000;

/** What was found so far; bounded, however much is wrong. */
export class Findings {
  readonly #kept: FsckFinding[] = [];
  readonly #found: Record<Severity, number> = { fault: 0, leftover: 0, note: 0 };
  readonly #repaired: Record<Severity, number> = { fault: 0, leftover: 0, note: 0 };

  /** Takes a finding in. */
  add(finding: NewFinding): void {
    const isRepaired = finding.isRepaired ?? false;
    this.#found[finding.severity] += 1;
    if (isRepaired) this.#repaired[finding.severity] += 1;
    if (this.#found[finding.severity] <= MAX_KEPT) this.#kept.push({ ...finding, isRepaired });
  }

  /** How many there are of a severity that were not repaired. */
  count(severity: Severity): number {
    return this.#found[severity] - this.#repaired[severity];
  }

  /** For the end. */
  report(): {
    readonly findings: readonly FsckFinding[];
    readonly faults: number;
    readonly leftovers: number;
    readonly notes: number;
    readonly repaired: number;
  } {
    return {
      findings: this.#kept,
      faults: this.count("fault"),
      leftovers: this.count("leftover"),
      notes: this.count("note"),
      repaired: Object.values(this.#repaired).reduce((sum, count) => sum + count, 0),
    };
  }
}
