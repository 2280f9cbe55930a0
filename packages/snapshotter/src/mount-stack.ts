import { closeSync, createReadStream } from "node:fs";
import { mkdir, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AppError, type DisposeStack, type Logger } from "@soci-ts/core";
import {
  erofsBackingDevices,
  fuseMount,
  mount,
  openFuseDevice,
  setReadAhead,
  unmount,
} from "@soci-ts/linux";
import type { MountRecord } from "./mount-record.ts";
import { type ServerCommand, type StartedServer, startServer } from "./server-process.ts";

/** What the mounts of one image are made with. */
export interface MountStackOptions {
  readonly record: MountRecord;
  /** The record's directory. */
  readonly directory: string;
  readonly server: ServerCommand;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

/** Where FUSE is mounted, in a mount's runtime directory. */
export const FUSE_DIRECTORY = "f";

/** The source that our mounts show in mount tables, by which they are known later. */
export function mountSource(id: string): string {
  return `soci:${id}`;
}

/**
 * Makes everything below the overlay: the runtime directory, FUSE, the process that serves it and, through the door `erofs`, an EROFS
 * mount for each layer. What is made is put on `undo`.
 */
export async function mountLayers(
  options: MountStackOptions,
  undo: DisposeStack,
): Promise<StartedServer> {
  const { record, directory } = options;
  await mkdir(dirname(record.runtimeDirectory), { recursive: true, mode: 0o700 });
  await makeDirectory(record.runtimeDirectory, undo);
  const server = await mountFuse(options, directory, undo);
  const { complete } = await server.ready(options.signal);
  const others = erofsBackingDevices();
  if (record.door === "erofs") {
    for (const slot of record.stack) await mountErofs(record, slot, undo);
  }
  if (!complete) switchReadAheadOff(others, options.logger);
  return server;
}

/**
 * Mounts the layers on top of each other at the record's target, read-only. overlayfs wants two layers at least when there is no
 * writable one: empty directories fill up.
 */
export async function mountOverlay(record: MountRecord, undo: DisposeStack): Promise<void> {
  const lowers = record.stack.map((slot) => layerDirectory(record, slot));
  while (lowers.length < 2) {
    const empty = join(record.runtimeDirectory, `e${lowers.length}`);
    await makeDirectory(empty, undo);
    lowers.push(empty);
  }
  // A layer's tar can't forge redirects, since trusted.* is dropped when its tree is built; the kernel is told not to look for any.
  const options = ["redirect_dir=nofollow", "metacopy=off"];
  // Through the door `fuse` all layers are one file system, and inode numbers are unique as they are.
  if (record.door === "erofs") options.push("xino=on");
  await mount({
    source: mountSource(record.id),
    target: record.target,
    type: "overlay",
    flags: ["ro"],
    data: [`lowerdir=${lowers.join(":")}`, ...options].join(","),
  });
  undo.defer(() => unmount(record.target, { detach: true }));
}

function layerDirectory(record: MountRecord, slot: number): string {
  const { runtimeDirectory, door } = record;
  return door === "erofs"
    ? join(runtimeDirectory, String(slot))
    : join(runtimeDirectory, FUSE_DIRECTORY, `t${slot}`);
}

/** Makes a directory that `undo` takes away. */
export async function makeDirectory(path: string, undo: DisposeStack): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  undo.defer(() => rmdir(path));
}

async function mountFuse(
  { record, server, signal }: MountStackOptions,
  directory: string,
  undo: DisposeStack,
): Promise<StartedServer> {
  const target = join(record.runtimeDirectory, FUSE_DIRECTORY);
  await makeDirectory(target, undo);
  signal?.throwIfAborted();
  const fd = openFuseDevice();
  try {
    await fuseMount({ fd, target, source: mountSource(record.id) });
    undo.defer(() => unmount(target, { detach: true }));
    const started = await startServer(server, directory, fd);
    undo.defer(() => started.kill());
    return started;
  } finally {
    // The server holds the connection now; a copy here would keep the mount from noticing that the server died.
    closeSync(fd);
  }
}

async function mountErofs(record: MountRecord, slot: number, undo: DisposeStack): Promise<void> {
  const target = join(record.runtimeDirectory, String(slot));
  const fuse = join(record.runtimeDirectory, FUSE_DIRECTORY);
  const devices = record.slots[slot]?.deviceSlots ?? [];
  await makeDirectory(target, undo);
  const source = join(fuse, `m${slot}`);
  try {
    await preload(source);
    await mount({
      source,
      target,
      type: "erofs",
      flags: ["ro", "nosuid", "nodev"],
      data: devices.map((device) => `device=${join(fuse, `d${device}`)}`).join(","),
    });
  } catch (error) {
    throw layerError(record, slot, AppError.from(error));
  }
  undo.defer(() => unmount(target, { detach: true }));
}

function layerError(record: MountRecord, slot: number, cause: AppError): AppError {
  const digest = record.slots[slot]?.layerDigest;
  const message = `Cannot mount layer ${digest}: ${cause.message}`;
  return new AppError(cause.code, message, { cause, details: cause.details });
}

/**
 * A page that is not there must cost what the process asked for, not what the kernel guesses it may want next. EROFS's own guessing
 * is switched off, which is the one that follows page faults; FUSE's stays as it is, so that whoever reads a file in order is not
 * answered page by page (the README has the figures).
 */
function switchReadAheadOff(others: ReadonlySet<string>, logger: Logger): void {
  for (const name of erofsBackingDevices()) {
    if (others.has(name)) continue;
    try {
      setReadAhead(name, 0);
    } catch (error) {
      // More is fetched than needed, nothing worse: a container may have sysfs read-only.
      logger.warn("read-ahead not switched off", { error: AppError.from(error).message });
    }
  }
}

/**
 * Brings a metadata image into the page cache, where EROFS reads it from: looking at names and attributes then takes no message to the
 * serving process at all. About 100 bytes for each file.
 */
async function preload(path: string): Promise<void> {
  const pieces: AsyncIterable<Uint8Array> = createReadStream(path, { highWaterMark: 2 ** 20 });
  for await (const _ of pieces);
}
