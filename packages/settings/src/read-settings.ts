import { readFileSync } from "node:fs";
import { AppError } from "@soci-ts/core";
import { type ConfigFault, faultText, type ParseOptions, parseSettings } from "./parse-settings.ts";
import type { SettingsOf, SettingsTable } from "./table.ts";

/** Where a configuration file is. */
export interface SettingsSource {
  readonly path: string;
  /** True if somebody named the file: then it has to be there. */
  readonly isNamed: boolean;
  /** A file's text; `undefined` if there is none. */
  readonly readFile: (path: string) => string | undefined;
}

/** What was read, or all that is wrong with it; `settings` is `undefined` exactly if there are faults. */
export interface ReadSettings<Settings> {
  /** The file that was read; `undefined` if there is none and the defaults hold. */
  readonly file: string | undefined;
  readonly settings: Settings | undefined;
  readonly faults: readonly ConfigFault[];
}

/** Overrides over file over defaults. Nothing is thrown for what is wrong: it is reported, all of it. */
export function readSettings<Table extends SettingsTable>(
  table: Table,
  source: SettingsSource,
  options: ParseOptions<Table> = {},
): ReadSettings<SettingsOf<Table>> {
  const { text, fault } = readText(source);
  const file = text === undefined && fault === undefined ? undefined : source.path;
  if (fault !== undefined) return { file, settings: undefined, faults: [fault] };
  return { file, ...parseSettings(table, text ?? "", options) };
}

/** `invalid_argument` that lists every fault. */
export function faultsError(faults: readonly ConfigFault[], file: string | undefined): AppError {
  const list = faults.map((fault) => faultText(fault, file)).join("; ");
  return new AppError("invalid_argument", `Cannot use the configuration: ${list}`);
}

/** A file's text; `undefined` if there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function readText({ path, isNamed, readFile }: SettingsSource): {
  readonly text?: string | undefined;
  readonly fault?: ConfigFault;
} {
  try {
    const text = readFile(path);
    if (text !== undefined || !isNamed) return { text };
    return { fault: { path: "--config", message: `is ${path}, which does not exist` } };
  } catch (error) {
    return { fault: { path: "", message: `can't be read: ${AppError.from(error).message}` } };
  }
}
