import { join } from "node:path";
import { AppError, DisposeStack, type Logger, silentLogger } from "@soci-ts/core";
import type { Store } from "@soci-ts/store";
import { clearDeadMounts, isAlive } from "./clear-mount.ts";
import { chooseDoor, DEFAULT_RUNTIME_ROOT } from "./doors.ts";
import {
  createMountDirectory,
  listMounts,
  removeMountDirectory,
  writeMountRecord,
} from "./mount-directories.ts";
import {
  type Door,
  type JsonValue,
  MOUNT_RECORD_VERSION,
  type MountRecord,
} from "./mount-record.ts";
import { mountLayers, mountOverlay } from "./mount-stack.ts";
import type { BlobOpener } from "./open-slot.ts";
import { prepareImage } from "./prepare-image.ts";
import { ownIdentity } from "./process-identity.ts";
import type { ImageLayer } from "./ready-layer.ts";
import type { ServerCommand } from "./server-process.ts";
import { resolveTarget } from "./target.ts";

/** What to mount, where, and how. */
export interface MountImageOptions {
  readonly store: Pick<Store, "directory">;
  /** An existing directory. */
  readonly target: string;
  /** What the user calls the image; shown by listings. */
  readonly reference: string;
  readonly manifestDigest: string;
  /** Bottom first, as in the manifest. */
  readonly layers: readonly ImageLayer[];
  /** Reads the blobs of layers without an index, in this process. */
  readonly blobs: BlobOpener;
  /** Lets the serving process open the same blobs; handed to `serveMount`'s `openBlobs`. No secrets: it is kept on disk. */
  readonly source: JsonValue;
  readonly server: ServerCommand;
  /** Default `auto`: EROFS where it works and can be trusted, from files or on loop devices, else the FUSE tree. */
  readonly door?: Door | "auto";
  /** Default {@link DEFAULT_RUNTIME_ROOT}. */
  readonly runtimeRoot?: string;
  readonly logger?: Logger;
  readonly signal?: AbortSignal | undefined;
}

/** A mounted image. */
export interface MountedImage {
  readonly id: string;
  readonly target: string;
  readonly door: Door;
  /** Why this door. */
  readonly doorReason: string;
  /** The serving process. */
  readonly pid: number;
  /** Its log. */
  readonly logPath: string;
}

/**
 * Mounts an image's root file system read-only at a directory.
 *
 * Layers with an index are opened lazily, others are read whole now. Then a record is written, FUSE is mounted and handed to a process of
 * its own, and layers and overlay are mounted by this one: the kernel reads from the serving process while they are, so it can't
 * be the one that mounts. When this resolves, the serving process lives on its own and ends with {@link unmountImage}. If anything
 * fails, all of it is undone; if this process is killed, the serving process ends, and the next call clears the rest away.
 * @throws AppError `failed_precondition` if something of this store is mounted there, or the machine lacks what the door needs; whatever
 *   reading the layers throws.
 */
export async function mountImage(options: MountImageOptions): Promise<MountedImage> {
  const logger = options.logger ?? silentLogger;
  const mounts = await options.store.directory("mounts");
  await clearDeadMounts(mounts, logger);
  const target = await resolveTarget(options.target);
  await requireFree(mounts, target, logger);
  const choice = await chooseDoor(options.door ?? "auto", options);
  logger.info("door chosen", { door: choice.door, reason: choice.reason });
  const undo = new DisposeStack();
  try {
    const mounted = await recordAndMount(
      { ...options, logger },
      { target, door: choice.door },
      undo,
    );
    return { ...mounted, doorReason: choice.reason };
  } catch (error) {
    await undo[Symbol.asyncDispose]().catch((failure) => {
      logger.warn("mount not undone entirely", { error: AppError.from(failure).message });
    });
    throw error;
  }
}

type FullOptions = MountImageOptions & { readonly logger: Logger };

async function recordAndMount(
  options: FullOptions,
  { target, door }: Pick<MountRecord, "target" | "door">,
  undo: DisposeStack,
): Promise<Omit<MountedImage, "doorReason">> {
  const mounts = await options.store.directory("mounts");
  const layersDirectory = await options.store.directory("layers");
  // First of all the record: with it, the directory and the claim on the target are known to be somebody's.
  const { directory, record: claim } = await createMountDirectory(mounts, (id) =>
    newRecord(options, { id, target, door, layersDirectory }),
  );
  undo.defer(() => removeMountDirectory(directory));
  await requireFree(mounts, target, options.logger, claim.id);
  const { slots, stack } = await prepareImage({ ...options, directory });
  const record = { ...claim, slots, stack };
  await writeMountRecord(directory, record);
  return await mountAll(record, directory, options, undo);
}

async function mountAll(
  record: MountRecord,
  directory: string,
  options: FullOptions,
  undo: DisposeStack,
): Promise<Omit<MountedImage, "doorReason">> {
  const { server: command, logger, signal } = options;
  const server = await mountLayers({ record, directory, server: command, logger, signal }, undo);
  // From here on a killed mounting process leaves a server that the record names.
  await writeMountRecord(directory, { ...record, server: server.identity });
  signal?.throwIfAborted();
  await mountOverlay(record, undo);
  await writeMountRecord(directory, { ...record, phase: "mounted", server: server.identity });
  await server.commit();
  return {
    id: record.id,
    target: record.target,
    door: record.door,
    pid: server.identity.pid,
    logPath: join(directory, "log"),
  };
}

/**
 * Two processes may want the same directory at once. Each writes its record first and looks then, so at least one sees the other, and
 * who sees another gives way: both may, never do both go on.
 */
async function requireFree(
  mounts: string,
  target: string,
  logger: Logger,
  ownId?: string,
): Promise<void> {
  const others = (await listMounts(mounts, logger)).filter(({ record }) => record.id !== ownId);
  const other = others.find(({ record }) => record.target === target && isAlive(record));
  if (other === undefined) return;
  const { phase, reference } = other.record;
  const state =
    phase === "mounted" ? `${reference} is mounted there` : "it is just being mounted on";
  throw new AppError(
    "failed_precondition",
    `Cannot mount on "${target}": ${state}, want it unmounted first`,
  );
}

function newRecord(
  options: MountImageOptions,
  parts: Pick<MountRecord, "id" | "target" | "door" | "layersDirectory">,
): MountRecord {
  return {
    formatVersion: MOUNT_RECORD_VERSION,
    ...parts,
    phase: "starting",
    reference: options.reference,
    manifestDigest: options.manifestDigest,
    createdAt: new Date().toISOString(),
    runtimeDirectory: join(options.runtimeRoot ?? DEFAULT_RUNTIME_ROOT, parts.id),
    parent: ownIdentity(),
    source: options.source,
    slots: [],
    stack: [],
  };
}
