import { mkdir, rmdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { AppError, abortable, type IoOptions, type Logger } from "@soci-ts/core";
import { readMountTable } from "@soci-ts/linux";
import type { ErofsDoor } from "../erofs-mount.ts";
import type { Door } from "../mount-record.ts";
import type { MountHelper } from "./mount-helper.ts";
import type { NodePaths } from "./node-paths.ts";
import { readNodeSlot, slotDirectory } from "./slot-files.ts";

/** Makes mounts in another process: the kernel reads from the layer server before a mount is done. */
export type LayerMounter = Pick<MountHelper, "mountErofs" | "unmount">;

/** What mounting layers needs. */
export interface LayerMountsOptions {
  readonly paths: NodePaths;
  readonly door: Door;
  readonly mounter: LayerMounter;
  /** How long a mounted layer that no snapshot needs stays mounted. */
  readonly idleMs: number;
  readonly logger: Logger;
  /** What is in the mount table; by default this process's. */
  readonly mountPoints?: (() => ReadonlySet<string>) | undefined;
}

interface MountedLayer {
  /** Resolves when the layer is mounted; a layer whose mount failed is unmounted, and forgotten, before this rejects. */
  readonly done: Promise<void>;
  isDone: boolean;
  /** When it was last asked for, or last needed by a snapshot. */
  neededAtMs: number;
}

/**
 * The mounts of layers: made when something is about to read them, taken away when no snapshot has needed them for a while. Through the door
 * `fuse` a layer is a directory of the FUSE mount, and there is nothing to be made.
 *
 * A layer is *unmounted* → (asked for) *mounting* → *mounted* → (not needed for `idleMs`, or removed) *releasing* → unmounted; one that is asked for
 * while it is released is mounted after that. What overlayfs holds lives on when a mount point goes, so taking one away never hurts a
 * container. Mounts that an earlier daemon made count. The mount table has the last word: a new keeper, or an administrator, may have taken away what is
 * on the list here, and an empty directory must not pass for a layer.
 */
export class LayerMounts {
  readonly #options: LayerMountsOptions;
  readonly #mounted = new Map<number, MountedLayer>();
  readonly #releasing = new Map<number, Promise<void>>();
  #needed: Set<number> = new Set();

  constructor(options: LayerMountsOptions) {
    this.#options = options;
    for (const path of this.#mountPoints()) {
      const layer = path.startsWith(`${options.paths.mounts}/`) ? Number(basename(path)) : NaN;
      if (!Number.isSafeInteger(layer)) continue;
      const neededAtMs = Date.now();
      this.#mounted.set(layer, { done: Promise.resolve(), isDone: true, neededAtMs });
    }
  }

  /** Layers that are mounted now. */
  get mounted(): readonly number[] {
    return this.#options.door === "fuse" ? [...this.#needed] : [...this.#mounted.keys()];
  }

  /**
   * Mounts layers that are not. They count as needed until {@link LayerMounts.retain} says otherwise.
   * @returns their directories.
   * @throws AppError `unavailable` naming the layer.
   */
  async mount(layers: readonly number[], options: IoOptions = {}): Promise<readonly string[]> {
    for (const layer of layers) this.#needed.add(layer);
    if (layers.length > 0) this.#forgetLost();
    return await Promise.all(layers.map((layer) => this.#mountOne(layer, options)));
  }

  /** Says which layers snapshots need. */
  retain(layers: ReadonlySet<number>): void {
    this.#needed = new Set(layers);
  }

  /** Takes one away at once. Failures are logged. */
  async release(layer: number): Promise<void> {
    const known = this.#mounted.get(layer);
    if (known === undefined) return await this.#releasing.get(layer);
    this.#mounted.delete(layer);
    const released = known.done
      .then(
        () => this.#unmount(layer),
        () => {}, // one that failed is unmounted already
      )
      .finally(() => this.#releasing.delete(layer));
    this.#releasing.set(layer, released);
    await released;
  }

  /** Takes away what nobody has needed for a while. To be called now and then. */
  async releaseIdle(): Promise<void> {
    const now = Date.now();
    for (const [layer, mounted] of this.#mounted) {
      if (this.#needed.has(layer)) mounted.neededAtMs = now;
      else if (now - mounted.neededAtMs > this.#options.idleMs) await this.release(layer);
    }
  }

  #forgetLost(): void {
    const points = this.#mountPoints();
    for (const [layer, { isDone }] of this.#mounted) {
      if (!isDone || points.has(this.#target(layer))) continue;
      this.#options.logger.warn("layer's mount is gone", { layer });
      this.#mounted.delete(layer);
    }
  }

  async #mountOne(layer: number, options: IoOptions): Promise<string> {
    const { paths, door } = this.#options;
    options.signal?.throwIfAborted();
    if (door === "fuse") {
      await this.#requireSlot(layer);
      return join(paths.fuse, `t${layer}`);
    }
    const mounted = this.#mounted.get(layer) ?? this.#begin(layer, door);
    mounted.neededAtMs = Date.now();
    await abortable(mounted.done, options.signal);
    return this.#target(layer);
  }

  #begin(layer: number, door: ErofsDoor): MountedLayer {
    const make = async (): Promise<void> => {
      await this.#releasing.get(layer);
      try {
        await this.#make(layer, door);
        mounted.isDone = true;
      } catch (error) {
        // A mount that was given up may have come to be.
        await this.#unmount(layer);
        if (this.#mounted.get(layer) === mounted) this.#mounted.delete(layer);
        throw this.#failure(layer, error);
      }
    };
    const mounted: MountedLayer = { done: make(), isDone: false, neededAtMs: Date.now() };
    mounted.done.catch(() => {}); // who waits for it is told, and there may be nobody left
    this.#mounted.set(layer, mounted);
    return mounted;
  }

  async #make(layer: number, door: ErofsDoor): Promise<void> {
    const { paths, mounter } = this.#options;
    const { record } = await readNodeSlot(slotDirectory(paths.slots, layer));
    const target = this.#target(layer);
    // One that could not be taken away must not stay below the new one for ever.
    if (this.#mountPoints().has(target)) await mounter.unmount(target, { detach: true });
    await mkdir(target, { recursive: true, mode: 0o700 });
    await mounter.mountErofs({
      door,
      source: join(paths.fuse, `m${layer}`),
      devices: record.deviceSlots.map((device) => join(paths.fuse, `d${device}`)),
      target,
      layerDigest: record.layerDigest,
      readAhead: "kernel",
    });
  }

  async #requireSlot(layer: number): Promise<void> {
    try {
      await readNodeSlot(slotDirectory(this.#options.paths.slots, layer));
    } catch (error) {
      throw this.#failure(layer, error);
    }
  }

  #failure(layer: number, cause: unknown): AppError {
    const { message } = AppError.from(cause);
    this.#options.logger.error("layer not mounted", { layer, error: message });
    return new AppError("unavailable", `Cannot mount layer ${layer}: ${message}`, { cause });
  }

  async #unmount(layer: number): Promise<void> {
    const target = this.#target(layer);
    try {
      await this.#options.mounter.unmount(target, { detach: true });
      await rmdir(target);
    } catch (error) {
      const { code, message } = AppError.from(error);
      if (code !== "not_found") {
        this.#options.logger.warn("layer not unmounted", { layer, error: message });
      }
    }
  }

  #target(layer: number): string {
    return join(this.#options.paths.mounts, String(layer));
  }

  #mountPoints(): ReadonlySet<string> {
    const { mountPoints = ownMountPoints } = this.#options;
    return mountPoints();
  }
}

function ownMountPoints(): ReadonlySet<string> {
  return new Set(readMountTable().map(({ mountPoint }) => mountPoint));
}
