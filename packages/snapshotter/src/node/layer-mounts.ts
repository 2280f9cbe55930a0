import { mkdir, rmdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { AppError, abortable, type IoOptions, type Logger } from "@soci-ts/core";
import { readMountTable } from "@soci-ts/linux";
import type { ErofsDoor, ErofsLayerMount } from "../erofs-mount.ts";
import type { Door } from "../mount-record.ts";
import type { HeldFiles } from "./held-files.ts";
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
  /** Files of layers that are whole. Also needed to let go of what an earlier daemon has mounted. */
  readonly localFiles?: LocalFiles | undefined;
  /** Whether layers that are whole are mounted from them; default `off`. */
  readonly local?: "auto" | "off" | undefined;
  /** What is in the mount table; by default this process's. */
  readonly mountPoints?: (() => ReadonlySet<string>) | undefined;
}

/** Files of layers that are whole; see {@link HeldFiles}. */
export type LocalFiles = Pick<
  HeldFiles,
  "open" | "isRight" | "hold" | "mounting" | "release" | "tidy"
>;

/** Where a layer is mounted. */
export interface LayerMountPoint {
  readonly layer: number;
  readonly directory: string;
  /** True if the kernel reads it from its file, with nobody in between. */
  readonly isLocal: boolean;
}

/** A layer can be mounted twice: through FUSE, and from its local file. */
interface MountName {
  readonly layer: number;
  readonly isLocal: boolean;
}

interface MountedLayer extends MountName {
  /** Resolves when the layer is mounted; a layer whose mount failed is unmounted, and forgotten, before this rejects. */
  readonly done: Promise<void>;
  isDone: boolean;
  /** True if snapshots may name it: it was given to somebody since the layer came to be needed. */
  isGiven: boolean;
  /** When it was last asked for, or last needed by a snapshot. */
  neededAtMs: number;
}

/**
 * The mounts of layers: made when something is about to read them, taken away when no snapshot has needed them for a while. Through the door
 * `fuse` a layer is a directory of the FUSE mount, and there is nothing to be made.
 *
 * A layer is *unmounted* → (asked for) *mounting* → *mounted* → (not needed for `idleMs`, or removed) *releasing* → unmounted; one that is asked for
 * while it is released is mounted after that. What overlayfs holds lives on when a mount point goes, so taking one away never hurts a
 * container. A layer that has become whole is mounted a second time, from its file, for whoever asks from then on; the first mount stays for those who were
 * given it, as long as the layer is needed. Mounts that an earlier daemon made count. The mount table has the last word: a new keeper, or an administrator, may have taken away what is
 * on the list here, and an empty directory must not pass for a layer.
 */
export class LayerMounts {
  readonly #options: LayerMountsOptions;
  /** By the name of the mount point: `7`, or `7w` of the local file. */
  readonly #mounted = new Map<string, MountedLayer>();
  readonly #releasing = new Map<string, Promise<void>>();
  #needed: Set<number> = new Set();
  #opening: Promise<void> | undefined;

  constructor(options: LayerMountsOptions) {
    this.#options = options;
    const { mounts } = options.paths;
    for (const path of this.#mountPoints()) {
      const name = path.startsWith(`${mounts}/`) ? parseName(basename(path)) : undefined;
      if (name === undefined) continue;
      const state = { isDone: true, isGiven: true, neededAtMs: Date.now() };
      this.#mounted.set(textOf(name), { ...name, done: Promise.resolve(), ...state });
    }
    const local = [...this.#mounted.values()].filter(({ isLocal }) => isLocal);
    this.#opening = options.localFiles?.open(new Set(local.map(({ layer }) => layer)));
  }

  /** Layers that are mounted now. */
  get mounted(): readonly number[] {
    return [...new Set(this.points.map(({ layer }) => layer))];
  }

  /** Where they are. */
  get points(): readonly LayerMountPoint[] {
    const { door, paths } = this.#options;
    const points = [...this.#mounted.values()].map(({ layer, isLocal }) => {
      return { layer, isLocal, directory: this.#target({ layer, isLocal }) };
    });
    if (door !== "fuse") return points;
    const served = [...this.#needed].map((layer) => {
      return { layer, isLocal: false, directory: join(paths.fuse, `t${layer}`) };
    });
    return [...points, ...served];
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
    for (const mounted of this.#mounted.values()) {
      if (!layers.has(mounted.layer)) mounted.isGiven = false;
    }
  }

  /** Takes a layer's mounts away at once. Failures are logged. */
  async release(layer: number): Promise<void> {
    for (const isLocal of [false, true]) await this.#release({ layer, isLocal });
  }

  /** Takes away what nobody has needed for a while. To be called now and then. */
  async releaseIdle(): Promise<void> {
    const now = Date.now();
    for (const mounted of this.#mounted.values()) {
      if (mounted.isGiven && this.#needed.has(mounted.layer)) mounted.neededAtMs = now;
      else if (now - mounted.neededAtMs > this.#options.idleMs) await this.#release(mounted);
    }
    await this.#opening;
    await this.#options.localFiles?.tidy();
  }

  async #release(name: MountName): Promise<void> {
    const key = textOf(name);
    const known = this.#mounted.get(key);
    if (known === undefined) return await this.#releasing.get(key);
    this.#mounted.delete(key);
    const released = known.done
      .then(
        () => this.#unmount(name),
        () => {}, // one that failed is unmounted already
      )
      .finally(() => this.#releasing.delete(key));
    this.#releasing.set(key, released);
    await released;
  }

  #forgetLost(): void {
    const points = this.#mountPoints();
    for (const [key, mounted] of this.#mounted) {
      if (!mounted.isDone || points.has(this.#target(mounted))) continue;
      this.#options.logger.warn("layer's mount is gone", { layer: mounted.layer });
      this.#mounted.delete(key);
      if (mounted.isLocal) void this.#options.localFiles?.release(mounted.layer);
    }
  }

  async #mountOne(layer: number, options: IoOptions): Promise<string> {
    const { paths, door } = this.#options;
    options.signal?.throwIfAborted();
    if (door === "fuse") {
      await this.#requireSlot(layer);
      return join(paths.fuse, `t${layer}`);
    }
    const isOn = this.#options.local === "auto";
    const local = isOn ? await this.#mountLocal(layer, door, options) : undefined;
    return local ?? (await this.#give({ layer, isLocal: false }, door, options));
  }

  /** A mount from the layer's own file; `undefined` if there is none to be had. */
  async #mountLocal(
    layer: number,
    door: ErofsDoor,
    options: IoOptions,
  ): Promise<string | undefined> {
    await this.#opening;
    if (!(await this.#options.localFiles?.isRight(layer))) return undefined;
    try {
      return await this.#give({ layer, isLocal: true }, door, options);
    } catch {
      options.signal?.throwIfAborted();
      return undefined; // it is logged, and FUSE has the same bytes
    }
  }

  async #give(name: MountName, door: ErofsDoor, options: IoOptions): Promise<string> {
    const mounted = this.#mounted.get(textOf(name)) ?? this.#begin(name, door);
    mounted.neededAtMs = Date.now();
    mounted.isGiven = true;
    await abortable(mounted.done, options.signal);
    return this.#target(name);
  }

  #begin(name: MountName, door: ErofsDoor): MountedLayer {
    const key = textOf(name);
    const make = async (): Promise<void> => {
      await this.#releasing.get(key);
      try {
        await this.#make(name, door);
        mounted.isDone = true;
      } catch (error) {
        // A mount that was given up may have come to be.
        await this.#unmount(name);
        if (this.#mounted.get(key) === mounted) this.#mounted.delete(key);
        throw this.#failure(name.layer, error);
      }
    };
    const state = { isDone: false, isGiven: true, neededAtMs: Date.now() };
    const mounted: MountedLayer = { ...name, done: make(), ...state };
    mounted.done.catch(() => {}); // who waits for it is told, and there may be nobody left
    this.#mounted.set(key, mounted);
    return mounted;
  }

  async #make(name: MountName, door: ErofsDoor): Promise<void> {
    const { mounter } = this.#options;
    const target = this.#target(name);
    // One that could not be taken away must not stay below the new one for ever.
    if (this.#mountPoints().has(target)) await mounter.unmount(target, { detach: true });
    await mkdir(target, { recursive: true, mode: 0o700 });
    const place = { door, target, readAhead: "kernel" } as const;
    if (name.isLocal) await this.#makeLocal(name.layer, place);
    else await mounter.mountErofs({ ...place, ...(await this.#servedFiles(name.layer)) });
  }

  async #makeLocal(
    layer: number,
    place: Pick<ErofsLayerMount, "door" | "target" | "readAhead">,
  ): Promise<void> {
    const { localFiles: local, mounter } = this.#options;
    if (local === undefined) return;
    const { layerDigest, imagePath: source, devices } = await local.hold(layer);
    const files = { layerDigest, source, devices: devices.map(({ path }) => path) };
    const mount = () => mounter.mountErofs({ ...place, ...files, directIo: true });
    // What files loop devices show, the kernel tells.
    if (place.door === "loop") await mount();
    else await local.mounting(layer, mount);
  }

  async #servedFiles(
    layer: number,
  ): Promise<Pick<ErofsLayerMount, "source" | "devices" | "layerDigest">> {
    const { paths } = this.#options;
    const { record } = await readNodeSlot(slotDirectory(paths.slots, layer));
    return {
      source: join(paths.fuse, `m${layer}`),
      devices: record.deviceSlots.map((device) => join(paths.fuse, `d${device}`)),
      layerDigest: record.layerDigest,
    };
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

  async #unmount(name: MountName): Promise<void> {
    const target = this.#target(name);
    const { layer, isLocal } = name;
    try {
      await this.#options.mounter.unmount(target, { detach: true });
      if (isLocal) await this.#options.localFiles?.release(layer);
      await rmdir(target);
    } catch (error) {
      const { code, message } = AppError.from(error);
      if (code !== "not_found") {
        this.#options.logger.warn("layer not unmounted", { layer, error: message });
      }
    }
  }

  #target(name: MountName): string {
    return join(this.#options.paths.mounts, textOf(name));
  }

  #mountPoints(): ReadonlySet<string> {
    const { mountPoints = ownMountPoints } = this.#options;
    return mountPoints();
  }
}

function ownMountPoints(): ReadonlySet<string> {
  return new Set(readMountTable().map(({ mountPoint }) => mountPoint));
}

function textOf({ layer, isLocal }: MountName): string {
  return isLocal ? `${layer}w` : String(layer);
}

function parseName(text: string): MountName | undefined {
  const [, digits, mark] = /^(\d+)(w?)$/.exec(text) ?? [];
  return digits === undefined ? undefined : { layer: Number(digits), isLocal: mark === "w" };
}
