import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Logger } from "@soci-ts/core";
import {
  encodeMountRecord,
  MOUNT_RECORD_FILE,
  type MountRecord,
  parseMountRecord,
} from "./mount-record.ts";
import { ownerName, ownerState, ownIdentity } from "./process-identity.ts";

/** A mount's directory and what it says. */
export interface RecordedMount {
  readonly directory: string;
  readonly record: MountRecord;
}

/** A directory on its way in or out that nobody can be found for is deleted after this time. */
const TRANSIT_AGE_MS = 60_000;

/**
 * Makes the directory of a new mount, its record in it, with an id that no other mount has. It appears in one step: made under a name that
 * tells whose it is, renamed when the record is there.
 */
export async function createMountDirectory(
  mounts: string,
  makeRecord: (id: string) => MountRecord,
): Promise<RecordedMount> {
  const id = randomBytes(4).toString("hex");
  const record = makeRecord(id);
  const directory = join(mounts, id);
  const transit = transitPath(directory);
  await mkdir(transit, { mode: 0o700 });
  try {
    await writeMountRecord(transit, record);
    await rename(transit, directory);
  } finally {
    await rm(transit, { recursive: true, force: true });
  }
  return { directory, record };
}

/** Deletes a mount's directory, first its name and then its content. Idempotent. */
export async function removeMountDirectory(directory: string): Promise<void> {
  const transit = transitPath(directory);
  try {
    await rename(directory, transit);
  } catch (error) {
    if (AppError.from(error).code === "not_found") return;
    throw error;
  }
  await rm(transit, { recursive: true, force: true });
}

function transitPath(directory: string): string {
  return `${directory}.${ownerName(ownIdentity())}`;
}

/** Writes a mount's record: the whole new one or, if this process is killed on the way, the old one is there. */
export async function writeMountRecord(directory: string, record: MountRecord): Promise<void> {
  const path = join(directory, MOUNT_RECORD_FILE);
  await replaceFile(path, encodeMountRecord(record), { flush: true });
}

/**
 * Puts a file in place of another in one step.
 * @param options - `flush`: the bytes are on the disk before the name is; without it a power cut may leave a file of zeros, which is fine for
 *   content that is checked when it is read.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  options: { readonly flush: boolean },
): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString("hex")}.new`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(content);
      if (options.flush) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Reads one mount's record. @throws AppError `not_found`; FormatError. */
export async function readMountRecord(directory: string): Promise<MountRecord> {
  return parseMountRecord(await readFile(join(directory, MOUNT_RECORD_FILE), "utf8"));
}

/**
 * All mounts on record. What killed processes left on its way in or out is deleted; records that can't be read (a newer version's,
 * perhaps) are logged and left alone.
 */
export async function listMounts(
  mounts: string,
  logger: Logger,
): Promise<readonly RecordedMount[]> {
  const found: RecordedMount[] = [];
  for (const name of await readdir(mounts)) {
    const [, id, owner] = /^([0-9a-f]{8})(?:\.([\d-]+))?$/.exec(name) ?? [];
    if (id === undefined) continue;
    const directory = join(mounts, name);
    if (owner !== undefined) {
      await removeAbandoned(directory, owner);
      continue;
    }
    try {
      found.push({ directory, record: await readMountRecord(directory) });
    } catch (error) {
      const { code, message } = AppError.from(error);
      if (code === "not_found") continue; // unmounted meanwhile
      logger.warn("mount record not read", { path: directory, error: message });
    }
  }
  return found;
}

async function removeAbandoned(directory: string, owner: string): Promise<void> {
  const state = ownerState(owner);
  if (state === "alive") return;
  const isOld = state === "unknown" && (await ageMs(directory)) > TRANSIT_AGE_MS;
  if (state === "gone" || isOld) await rm(directory, { recursive: true, force: true });
}

async function ageMs(path: string): Promise<number> {
  return await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0, // gone meanwhile
  );
}
