import { type Digest, FormatError, isDigest } from "@soci-ts/core";
import type { ProcessIdentity } from "./process-identity.ts";

/** Which way layers reach overlayfs: EROFS mounted from the files of our FUSE, or from loop devices over them, or the FUSE tree of the same image. */
export type Door = "erofs" | "loop" | "fuse";

const DOORS: readonly string[] = ["erofs", "loop", "fuse"] satisfies readonly Door[];

/** A value that survives JSON. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Where a slot's uncompressed bytes come from. Paths are relative to the mount's directory unless absolute. */
export type SlotData =
  | { readonly kind: "file"; readonly path: string }
  | {
      /** Read when needed, by its index. */
      readonly kind: "lazy";
      readonly mediaType: string;
      /** Length of the layer's blob. */
      readonly sizeBytes: number;
      /** The layer's index, as a ztoc without its file table: spans and checkpoints are all that reading needs. */
      readonly indexPath: string;
      readonly indexDigest: Digest;
      /** The table that the tar's headers are held against. */
      readonly headersPath: string;
      readonly headersDigest: Digest;
      /** What all uncompressed bytes must have, from the image's config. Absent in older records: then they are not held against it. */
      readonly diffId?: Digest | undefined;
    }
  | {
      /** Read whole before it was mounted: the store's layer cache has it, index included. */
      readonly kind: "streamed";
      readonly mediaType: string;
      readonly sizeBytes: number;
      readonly diffId: Digest;
    };

/** One distinct layer of a mount. */
export interface SlotRecord {
  readonly layerDigest: Digest;
  readonly data: SlotData;
  /** The metadata image's file. */
  readonly imagePath: string;
  /** The slot of each of the image's devices. */
  readonly deviceSlots: readonly number[];
}

/**
 * What is written down about a mount, in `state.json` of its directory: all that the serving process needs, and all that it takes
 * to clear the mount away when nobody is left who made it. Holds no secrets.
 *
 * Life: *starting*, written before anything is mounted, while the process that mounts (`parent`) lives; *mounted* from when the
 * image can be used, while the serving process lives. A record whose process is gone is dead: whatever it names is cleared away by
 * the next `mountImage` or `unmountImage` of this store.
 */
export interface MountRecord {
  readonly formatVersion: typeof MOUNT_RECORD_VERSION;
  /** Names the mount: 8 hex digits. */
  readonly id: string;
  readonly phase: "starting" | "mounted";
  /** Where the image is mounted: absolute, no symbolic links. */
  readonly target: string;
  /** What the user called the image. */
  readonly reference: string;
  readonly manifestDigest: string;
  readonly door: Door;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Holds the mount points of FUSE (`f`) and of the layers. Nothing else is in it. */
  readonly runtimeDirectory: string;
  /** The store's directory of layer caches. */
  readonly layersDirectory: string;
  readonly parent: ProcessIdentity;
  readonly server?: ProcessIdentity;
  /** How the serving process opens the image's blobs; given back to the app as it was. */
  readonly source: JsonValue;
  readonly slots: readonly SlotRecord[];
  /** Slots in the order of overlayfs: top first. */
  readonly stack: readonly number[];
}

/** The version that this code writes. Others are refused. */
export const MOUNT_RECORD_VERSION = 1;

/** The record's file in a mount's directory. */
export const MOUNT_RECORD_FILE = "state.json";

/** The text of a record's file. */
export function encodeMountRecord(record: MountRecord): string {
  return `${JSON.stringify(record, undefined, 1)}\n`;
}

/**
 * Reads a record's file.
 * @throws FormatError if it is not one, or of another version.
 */
export function parseMountRecord(text: string): MountRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw fault("it is not JSON", error);
  }
  const record = value as MountRecord;
  if (!isObject(value)) throw fault("it is not an object");
  if (record.formatVersion !== MOUNT_RECORD_VERSION) {
    throw fault(`its version is ${JSON.stringify(record.formatVersion)}, want 1`);
  }
  const state = faultOf(record);
  if (state !== undefined) throw fault(state);
  return record;
}

function fault(state: string, cause?: unknown): FormatError {
  return new FormatError("mount record", 0, state, { cause });
}

/** What is wrong with a record; its paths and processes decide what is unmounted and killed, so they are looked at closely. */
function faultOf(record: MountRecord): string | undefined {
  const checks: readonly (readonly [string, boolean])[] = [
    ["id", typeof record.id === "string" && /^[0-9a-f]{8}$/.test(record.id)],
    ["phase", record.phase === "starting" || record.phase === "mounted"],
    ["target", isAbsolutePath(record.target)],
    ["door", DOORS.includes(record.door)],
    ["runtimeDirectory", isAbsolutePath(record.runtimeDirectory)],
    ["runtimeDirectory", String(record.runtimeDirectory).endsWith(`/${record.id}`)],
    ["layersDirectory", isAbsolutePath(record.layersDirectory)],
    ["parent", isIdentity(record.parent)],
    ["server", record.server === undefined || isIdentity(record.server)],
    ["slots", Array.isArray(record.slots) && record.slots.every(isSlotRecord)],
    ["stack", isStack(record)],
  ];
  const failed = checks.find(([, holds]) => !holds);
  return failed && `its field "${failed[0]}" is missing or wrong`;
}

function isStack({ slots, stack }: MountRecord): boolean {
  return Array.isArray(stack) && stack.every((slot) => slots?.[slot] !== undefined);
}

/** True for what has the shape of a slot's record. */
export function isSlotRecord(slot: unknown): slot is SlotRecord {
  if (!isObject(slot)) return false;
  const { layerDigest, data, imagePath, deviceSlots } = slot as unknown as SlotRecord;
  return (
    typeof layerDigest === "string" &&
    isDigest(layerDigest) &&
    isObject(data) &&
    typeof imagePath === "string" &&
    Array.isArray(deviceSlots)
  );
}

function isIdentity(value: unknown): value is ProcessIdentity {
  if (!isObject(value)) return false;
  const { pid, startTicks, bootId, pidNamespace } = value as unknown as ProcessIdentity;
  const texts = [startTicks, bootId, pidNamespace];
  return Number.isInteger(pid) && pid > 1 && texts.every((text) => typeof text === "string");
}

function isAbsolutePath(path: unknown): boolean {
  return typeof path === "string" && path.startsWith("/") && !path.split("/").includes("..");
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
