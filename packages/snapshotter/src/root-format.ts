import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "@soci-ts/core";

/**
 * The format of a daemon's root as a whole. It goes up when a version writes what the version before can't read, or would take for something
 * else. New fields that may be missing, and files that an older version does not look at, leave it alone; as long as it stays, going
 * back to the version before works.
 */
export const ROOT_FORMAT = 1;

/** Holds `{"format": N}`, at the root. Where there is none, an early version of format 1 was the last. */
export const FORMAT_FILE = "format.json";

/**
 * Refuses a root that a newer version has written; nothing is written. There need not be one.
 * @returns whether its format is on record.
 * @throws AppError `failed_precondition`.
 */
export function refuseNewerRoot(root: string): boolean {
  const note = readNote(join(root, FORMAT_FILE));
  if (note === undefined) return false;
  const { format } = note as { readonly format?: unknown };
  if (typeof format === "number" && format <= ROOT_FORMAT) return true;
  const state = `its format is ${JSON.stringify(format)}, want at most ${ROOT_FORMAT}`;
  throw new AppError(
    "failed_precondition",
    `Cannot use "${root}": ${state}; a newer version wrote it, use that one, or another --root`,
  );
}

/** Undefined for one that is torn too: every version writes JSON, and each database has a number of its own. */
function readNote(path: string): object | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return typeof value === "object" && value !== null ? value : {};
  } catch (error) {
    const { code } = AppError.from(error);
    if (error instanceof SyntaxError || code === "not_found") return undefined;
    throw error;
  }
}
