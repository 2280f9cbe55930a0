import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { AppError } from "@soci-ts/core";
import type { RecordedMount } from "./mount-directories.ts";

/**
 * The directory to mount on, with no symbolic links in its path.
 * @throws AppError `not_found` or `failed_precondition` if there is none.
 */
export async function resolveTarget(path: string): Promise<string> {
  const target = await realpath(path).catch((error) => {
    throw targetError(path, AppError.from(error));
  });
  if ((await stat(target)).isDirectory()) return target;
  const message = `Cannot mount on "${path}": it is not a directory`;
  throw new AppError("failed_precondition", message);
}

function targetError(path: string, cause: AppError): AppError {
  const message = `Cannot mount on "${path}": ${cause.code}, want an existing directory`;
  return new AppError(cause.code, message, { cause });
}

/**
 * The mount that a path means: by its name as given, then with links in the path to it followed, and only then by following the last
 * part too, because that looks at the mount itself, which may be dead.
 */
export async function findByTarget(
  mounts: readonly RecordedMount[],
  path: string,
): Promise<RecordedMount | undefined> {
  const full = resolve(path);
  const guesses = [
    async () => full,
    async () => join(await realpath(dirname(full)), basename(full)),
    async () => await realpath(full),
  ];
  for (const guess of guesses) {
    const target = await guess().catch(() => undefined); // a path that does not exist is no mount's
    const found = mounts.findLast(({ record }) => record.target === target);
    if (found !== undefined) return found;
  }
  return undefined;
}
