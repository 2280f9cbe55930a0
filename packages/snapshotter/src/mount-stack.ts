import { closeSync } from "node:fs";
import { mkdir, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DisposeStack, Logger } from "@soci-ts/core";
import { fuseMount, mount, openFuseDevice, unmount } from "@soci-ts/linux";
import { type ErofsLayerMount, mountErofsLayer } from "./erofs-mount.ts";
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
 * Makes everything below the overlay: the runtime directory, FUSE, the process that serves it and, except through the door `fuse`, an EROFS
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
  if (record.door === "fuse") return server;
  for (const slot of record.stack) {
    const layer = erofsLayer(record, record.door, slot);
    await makeDirectory(layer.target, undo);
    await mountErofsLayer({ ...layer, readAhead: complete ? "kernel" : "off" }, options.logger);
    undo.defer(() => unmount(layer.target, { detach: true }));
  }
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
  if (record.door !== "fuse") options.push("xino=on");
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
  return door === "fuse"
    ? join(runtimeDirectory, FUSE_DIRECTORY, `t${slot}`)
    : join(runtimeDirectory, String(slot));
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

function erofsLayer(
  { runtimeDirectory, slots }: MountRecord,
  door: ErofsLayerMount["door"],
  slot: number,
): Omit<ErofsLayerMount, "readAhead"> {
  const fuse = join(runtimeDirectory, FUSE_DIRECTORY);
  const { deviceSlots, layerDigest } = slots[slot] ?? { deviceSlots: [], layerDigest: "" };
  return {
    door,
    source: join(fuse, `m${slot}`),
    devices: deviceSlots.map((device) => join(fuse, `d${device}`)),
    target: join(runtimeDirectory, String(slot)),
    layerDigest,
  };
}
