import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { AppError } from "@soci-ts/core";
import { TOOL_ENVIRONMENT } from "./run-tool.ts";

/** One stretch of owners: `length` ids from `container` on inside are `host` and up outside. */
export interface IdRange {
  readonly container: number;
  readonly host: number;
  readonly length: number;
}

/** Owners of a user namespace. */
export interface IdRanges {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** The kernel takes at most this many lines in a map. */
const MAX_RANGES = 340;
const MAX_ID = 0xffff_fffe;

/**
 * Reads `container:host:length` lines, separated by newlines or commas.
 * @throws AppError `invalid_argument` with the line that is wrong.
 */
export function parseIdRanges(text: string): readonly IdRange[] {
  const lines = text.split(/[\n,]/).filter((line) => line !== "");
  const ranges = lines.map(parseRange);
  if (ranges.length > 0 && ranges.length <= MAX_RANGES) return ranges;
  const message = `Cannot use an id mapping: it has ${ranges.length} lines, want 1 to ${MAX_RANGES}`;
  throw new AppError("invalid_argument", message);
}

function parseRange(line: string): IdRange {
  const [, ...digits] = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(line) ?? [];
  const [container = -1, host = -1, length = 0] = digits.map(Number);
  const end = Math.max(container, host) + length - 1;
  if (container >= 0 && length > 0 && end <= MAX_ID) return { container, host, length };
  const message = `Cannot use an id mapping: "${line}", want container:host:length of 32-bit ids`;
  throw new AppError("invalid_argument", message);
}

/**
 * Opens a user namespace with the given owners, for {@link idMapMount}. A process can't make one for another, so a child unshares and waits
 * while its maps are written; the namespace then lives as long as the descriptor, or what is mounted with it.
 * @returns a descriptor that is the caller's to close.
 * @throws AppError `permission_denied` or `unimplemented` where user namespaces can't be made.
 */
export async function openUserNamespace(ranges: IdRanges): Promise<number> {
  const child = spawn("unshare", ["--user", "--", "sh", "-c", "echo; read -r _"], {
    env: TOOL_ENVIRONMENT,
    stdio: ["pipe", "pipe", "pipe"],
  });
  try {
    await unshared(child);
    writeFileSync(`/proc/${child.pid}/uid_map`, mapText(ranges.uids));
    writeFileSync(`/proc/${child.pid}/gid_map`, mapText(ranges.gids));
    return openSync(`/proc/${child.pid}/ns/user`, "r");
  } catch (error) {
    throw namespaceError(AppError.from(error));
  } finally {
    child.kill("SIGKILL");
  }
}

/** A line on its standard output means that the child is in its own namespace. */
async function unshared(child: ChildProcess): Promise<void> {
  let complaint = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(0, 1000);
  });
  const spoke = child.stdout === null ? undefined : once(child.stdout, "data").then(() => true);
  const ended = once(child, "close").then(() => false);
  if (await Promise.race([spoke, ended])) return;
  throw new AppError("permission_denied", complaint.trim().replaceAll("\n", "; "));
}

function mapText(ranges: readonly IdRange[]): string {
  return ranges.map(({ container, host, length }) => `${container} ${host} ${length}\n`).join("");
}

function namespaceError(cause: AppError): AppError {
  const message = `Cannot make a user namespace: ${cause.message}; want root, and user.max_user_namespaces above 0`;
  return new AppError(cause.code, message, { cause, details: cause.details });
}

/** Closes a descriptor of {@link openUserNamespace}. What is mounted with it is not affected. */
export function closeUserNamespace(fd: number): void {
  closeSync(fd);
}
