import { access, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AppError, FormatError, verifyDigest } from "@soci-ts/core";
import type { WholeVerdict } from "@soci-ts/lazy-layer";
import { readSealedImage } from "../metadata-images.ts";
import { replaceFile } from "../mount-directories.ts";
import { isSlotRecord, type JsonValue, type SlotRecord } from "../mount-record.ts";

/** What is written down about one layer of the node, in `slot.json` of its directory. Holds no secrets. */
export interface NodeSlot {
  readonly formatVersion: typeof NODE_SLOT_VERSION;
  /** Slots in `deviceSlots` are those of the node. */
  readonly record: SlotRecord;
  /** Where its blob can be had, the newest first: each is given to the app's `openBlobs`. */
  readonly sources: readonly JsonValue[];
}

/** The version that this code writes. A newer one is refused; what is of no known version is damaged. */
export const NODE_SLOT_VERSION = 1;

/** Sources kept for a layer. */
const MAX_SOURCES = 8;

const SLOT_FILE = "slot.json";
const STATS_FILE = "stats.json";

/** The directory of a slot. */
export function slotDirectory(slots: string, slot: number): string {
  return join(slots, String(slot));
}

/** Reads what is known of a slot. @throws AppError `not_found`, `failed_precondition` if a newer version wrote it; FormatError if it is damaged. */
export async function readNodeSlot(directory: string): Promise<NodeSlot> {
  const path = join(directory, SLOT_FILE);
  const slot = parse(await readFile(path, "utf8").catch(rethrow(path))) as
    | Partial<NodeSlot>
    | undefined;
  refuseNewer(path, slot?.formatVersion);
  if (slot?.formatVersion !== NODE_SLOT_VERSION) {
    throw new FormatError("slot record", 0, `"${path}" is not of version ${NODE_SLOT_VERSION}`);
  }
  if (!isSlotRecord(slot.record) || !Array.isArray(slot.sources)) {
    throw new FormatError("slot record", 0, `"${path}" lacks its record or its sources`);
  }
  return slot as NodeSlot;
}

function refuseNewer(path: string, version: unknown): void {
  if (typeof version !== "number" || version <= NODE_SLOT_VERSION) return;
  const state = `its version is ${version}, want at most ${NODE_SLOT_VERSION}; a newer version of this program wrote it`;
  throw new AppError("failed_precondition", `Cannot read "${path}" of a layer: ${state}`);
}

/** Sees whether a slot and the files that it names are there. @throws AppError `not_found`; what {@link readNodeSlot} throws. */
export async function checkNodeSlot(directory: string): Promise<void> {
  const { data, imagePath } = (await readNodeSlot(directory)).record;
  const others = data.kind === "lazy" ? [data.indexPath, data.headersPath] : [];
  for (const path of [imagePath, ...others]) {
    const full = resolve(directory, path);
    await access(full).catch(rethrow(full));
  }
}

/** Reads all that a slot is opened by. @throws what {@link readNodeSlot} throws; FormatError, DigestMismatchError for a file that is damaged. */
export async function verifyNodeSlot(directory: string): Promise<void> {
  const { data, imagePath } = (await readNodeSlot(directory)).record;
  readSealedImage(await readFile(imagePath).catch(rethrow(imagePath)));
  if (data.kind !== "lazy") return;
  for (const [path, digest] of [
    [resolve(directory, data.indexPath), data.indexDigest],
    [resolve(directory, data.headersPath), data.headersDigest],
  ] as const) {
    verifyDigest(`"${path}" of a layer`, await readFile(path).catch(rethrow(path)), digest);
  }
}

function rethrow(path: string): (error: unknown) => never {
  return (cause) => {
    const { code, message } = AppError.from(cause);
    throw new AppError(code, `Cannot read "${path}" of a layer: ${message}`, { cause });
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // damaged: the caller says so
  }
}

/** Makes a slot's directory out of one that holds the files which `record` names, all of them on the disk. Appears in one step. */
export async function placeNodeSlot(
  incoming: string,
  directory: string,
  { record, source }: { readonly record: SlotRecord; readonly source: JsonValue },
): Promise<void> {
  const slot: NodeSlot = { formatVersion: NODE_SLOT_VERSION, record, sources: [source] };
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  await replaceFile(join(incoming, SLOT_FILE), JSON.stringify(slot), { flush: false });
  for (const name of await readdir(incoming)) {
    await using file = await open(join(incoming, name), "r");
    await file.sync();
  }
  await rm(directory, { recursive: true, force: true });
  await rename(incoming, directory);
}

/** Puts a source at the head of a slot's list. */
export async function addSlotSource(directory: string, source: JsonValue): Promise<void> {
  const slot = await readNodeSlot(directory);
  const text = JSON.stringify(source);
  if (JSON.stringify(slot.sources[0]) === text) return;
  const others = slot.sources.filter((other) => JSON.stringify(other) !== text);
  const sources = [source, ...others].slice(0, MAX_SOURCES);
  await replaceFile(join(directory, SLOT_FILE), JSON.stringify({ ...slot, sources }), {
    flush: false,
  });
}

/** What reading a layer has cost since it came to this node. */
export interface SlotStats {
  /** Requests to registries. */
  readonly requests: number;
  readonly bytesFetched: number;
  /** Uncompressed bytes that were read. */
  readonly bytesRead: number;
  /** Uncompressed bytes that are on the disk. */
  readonly cachedBytes: number;
  readonly isComplete: boolean;
  /** Length of the uncompressed layer; 0 if it was never opened. */
  readonly sizeBytes: number;
  /** Whether all bytes are what the image's config says; absent if that is not to be found out. */
  readonly verdict?: WholeVerdict | undefined;
  /** When it was last read, in ms since the epoch; 0: never. */
  readonly usedAtMs: number;
  /** The last failure, and when it was (ms since the epoch). */
  readonly lastError?:
    | { readonly code?: string; readonly message: string; readonly atMs: number }
    | undefined;
}

/** The figures of a layer that nothing was read of. */
export const NO_STATS: SlotStats = {
  requests: 0,
  bytesFetched: 0,
  bytesRead: 0,
  cachedBytes: 0,
  isComplete: false,
  sizeBytes: 0,
  usedAtMs: 0,
};

/** What the layer server last wrote down; nothing yet: zeros. Figures for people, so damage is no failure. */
export async function readSlotStats(directory: string): Promise<SlotStats> {
  try {
    return {
      ...NO_STATS,
      ...(JSON.parse(await readFile(join(directory, STATS_FILE), "utf8")) as Partial<SlotStats>),
    };
  } catch {
    return NO_STATS;
  }
}

/** Writes a layer's figures down; a slot that is gone meanwhile has none. */
export async function writeSlotStats(directory: string, stats: SlotStats): Promise<void> {
  try {
    await replaceFile(join(directory, STATS_FILE), JSON.stringify(stats), { flush: false });
  } catch (error) {
    if (AppError.from(error).code !== "not_found") throw error;
  }
}
