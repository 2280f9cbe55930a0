import { open } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import type { CreatedIndex } from "@soci-ts/soci";

/** Longest JSON file with paths, in bytes. */
const MAX_LIST_BYTES = 8 * 1024 * 1024;

/** The options of `soci create` and `soci convert` that name files to fetch early. */
export interface PrefetchOptions {
  readonly prefetchFile?: readonly string[];
  readonly prefetchFilesJson?: string;
}

/**
 * All paths that the options name, trimmed, empty ones left out.
 * @throws AppError `invalid_argument` if the file holds anything but a JSON array of strings.
 */
export async function readPrefetchFiles(options: PrefetchOptions): Promise<readonly string[]> {
  const { prefetchFile = [], prefetchFilesJson } = options;
  const listed = prefetchFilesJson === undefined ? [] : await readList(prefetchFilesJson);
  return [...prefetchFile, ...listed].map((path) => path.trim()).filter((path) => path !== "");
}

/** Files that are in no indexed layer, as facts for people. */
export function notFoundFacts(files: CreatedIndex["filesNotFound"]): [string, string][] {
  return files.map((file) => ["not found", `${JSON.stringify(file)}, in no indexed layer`]);
}

async function readList(path: string): Promise<readonly string[]> {
  const text = await readBounded(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notAList(path, "is not JSON", error);
  }
  if (value === null) return [];
  if (!Array.isArray(value)) throw notAList(path, "holds something else");
  return value.map((item: unknown) => {
    if (typeof item === "string") return item;
    throw notAList(path, `holds ${JSON.stringify(item).slice(0, 80)}`);
  });
}

async function readBounded(path: string): Promise<string> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    if (size <= MAX_LIST_BYTES) return await file.readFile("utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
  throw notAList(path, `is longer than ${MAX_LIST_BYTES} bytes`);
}

function unreadable(path: string, cause: unknown): AppError {
  const { code, message } = AppError.from(cause);
  return new AppError(code, `Cannot read ${path}: ${message}`, { cause });
}

function notAList(path: string, state: string, cause?: unknown): AppError {
  const message = `Cannot read ${path}: it ${state}, want a JSON array of paths`;
  return new AppError("invalid_argument", message, { cause });
}
