import { link, mkdir, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, delay, type Logger, type Metrics, Semaphore } from "@soci-ts/core";
import { erofsBackingDevices, listLoopDevices, setImmutable } from "@soci-ts/linux";
import { checkImage, type LocalLayer } from "./local-data.ts";
import type { NodePaths } from "./node-paths.ts";

/** What local files are held with. */
export interface HeldFilesOptions {
  readonly paths: Pick<NodePaths, "heldFiles" | "runtime">;
  /** The files of a layer, if they are whole and right now. */
  readonly find: (layer: number) => Promise<LocalLayer | undefined>;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Names of the devices behind EROFS mounts, and files behind loop devices; by default those of this machine. */
  readonly inUse?: (() => KernelUse) | undefined;
  /** {@link setImmutable}, by default. */
  readonly protect?: typeof setImmutable | undefined;
}

/** The kernel detaches loop devices in the background. */
const LETTING_GO_MS = 2000;
const LOOK_AGAIN_MS = 50;

/** What the kernel has open without a process. */
export interface KernelUse {
  /** {@link erofsBackingDevices}. */
  readonly erofs: ReadonlySet<string>;
  /** Files behind loop devices. */
  readonly loops: readonly string[];
}

/** A data file as it was when it was found right. */
interface FileState {
  readonly path: string;
  readonly ino: bigint;
  readonly sizeBytes: bigint;
  readonly mtimeNs: bigint;
}

/**
 * Second names for the data files that the kernel reads without us. Whoever frees disk space sees by the number of names that a file is not to
 * be touched.
 *
 * Files of a layer are *free* → *held*, before they are mounted → *lingering*, when they were unmounted but containers may have them still → free, when the kernel
 * has let go. What an earlier daemon held is found by its names, and what devices it may have in a file of the runtime directory, which lives as long
 * as devices do. Nobody checks bytes while they are read here, so a held file is made immutable before it is found right: where that can't be, it is not
 * held. That files stay as they were is looked at now and then all the same.
 */
export class HeldFiles {
  readonly #options: HeldFilesOptions;
  /** Names come and go one after the other. */
  readonly #naming = new Semaphore(1);
  /** Files that were found right by this process; empty for those found changed since. */
  readonly #right = new Map<number, readonly FileState[]>();
  /** Layers that an earlier daemon has mounted, and this one has not looked at. */
  readonly #unjudged = new Set<number>();
  /** False once it turned out that files can't be made immutable here: then none is held. */
  #canProtect = true;
  /** Files of layers that are not mounted any more. */
  readonly #lingering = new Set<number>();

  constructor(options: HeldFilesOptions) {
    this.#options = options;
  }

  /** Takes over from an earlier daemon: whatever layer is not mounted is let go of. */
  async open(mounted: ReadonlySet<number>): Promise<void> {
    const names = await readdir(this.#options.paths.heldFiles).catch(() => []); // none yet
    for (const layer of names.map(Number)) {
      if (mounted.has(layer)) this.#unjudged.add(layer);
      else this.#lingering.add(layer);
    }
  }

  /** True if a layer can be mounted from its files, or its files are still what it was mounted from. Never rejects. */
  async isRight(layer: number): Promise<boolean> {
    try {
      if (this.#right.has(layer)) return await this.#isUnchanged(layer);
      if (!this.#canProtect) return false;
      const found = await this.#options.find(layer);
      if (found === undefined) return false;
      return !this.#unjudged.has(layer) || (await this.#isHeld(layer, found));
    } catch (error) {
      const { code, message } = AppError.from(error);
      // What is wrong with the layer itself, the mount through FUSE will say.
      if (code !== "not_found")
        this.#options.logger.warn("layer is not mounted from its file", { layer, error: message });
      return false;
    }
  }

  /**
   * Holds a layer's files.
   * @returns the files, the devices by their second names.
   * @throws AppError `failed_precondition` if they are not right (any more); FormatError if the metadata image is damaged.
   */
  async hold(layer: number): Promise<LocalLayer> {
    return await this.#naming.run(() => this.#hold(layer));
  }

  async #hold(layer: number): Promise<LocalLayer> {
    const found = await this.#find(layer);
    await checkImage(found);
    this.#lingering.delete(layer);
    const directory = this.#directory(layer);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const devices: { layer: number; path: string }[] = [];
    for (const device of found.devices) {
      const path = join(directory, String(device.layer));
      this.#protect(device.path, false); // it may have another name already
      await linkAs(device.path, path);
      if (!this.#protect(path, true)) {
        this.#canProtect = false;
        throw notProtected(layer);
      }
      devices.push({ layer: device.layer, path });
    }
    // Whoever takes bytes out of a file marks them absent first and looks at its names after that: so this is the moment to look whether it is whole.
    const again = await this.#find(layer);
    const states = await statesOf(devices);
    const named = await statesOf(again.devices);
    if (states.some(({ ino }, at) => ino !== named[at]?.ino)) throw notRight(layer);
    this.#right.set(layer, states);
    return { ...found, devices };
  }

  /** Runs what mounts a layer, and notes which devices came meanwhile: one of them is its own. */
  async mounting(layer: number, mount: () => Promise<void>): Promise<void> {
    const before = this.#inUse().erofs;
    try {
      await mount();
    } finally {
      const fresh = [...this.#inUse().erofs].filter((name) => !before.has(name));
      const all = [...(await this.#devicesOf(layer)), ...fresh];
      await writeFile(this.#record(layer), JSON.stringify(all), { mode: 0o600 });
    }
  }

  /** Lets go of a layer that was unmounted, as soon as the kernel has. */
  async release(layer: number): Promise<void> {
    this.#right.delete(layer);
    this.#unjudged.delete(layer);
    this.#lingering.add(layer);
    await this.tidy();
  }

  /** Lets go of all layers; all were unmounted. Waits a moment for the kernel; what containers still have, the next daemon lets go of. */
  async releaseAll(): Promise<void> {
    const names = await readdir(this.#options.paths.heldFiles).catch(() => []); // none yet
    for (const layer of names.map(Number)) await this.release(layer);
    const deadline = Date.now() + LETTING_GO_MS;
    while (this.#lingering.size > 0 && Date.now() < deadline) {
      await delay(LOOK_AGAIN_MS);
      await this.tidy();
    }
  }

  /** Lets go of what lingers, and looks at the files of layers that are mounted. To be called now and then. Failures are logged. */
  async tidy(): Promise<void> {
    await this.#naming.run(() => this.#tidy());
  }

  async #tidy(): Promise<void> {
    for (const layer of this.#lingering) {
      try {
        if (await this.#isInUse(layer)) continue;
        await this.#letGo(layer);
        this.#lingering.delete(layer);
      } catch (error) {
        const { message } = AppError.from(error);
        this.#options.logger.warn("files of a layer are still held", { layer, error: message });
      }
    }
    for (const layer of this.#unjudged) {
      const isRight = await this.isRight(layer);
      this.#unjudged.delete(layer);
      if (!isRight) this.#isNotVouchedFor(layer, []);
    }
    for (const layer of this.#right.keys()) await this.#isUnchanged(layer);
  }

  /** True if what an earlier daemon mounted are the files that were found. */
  async #isHeld(layer: number, found: LocalLayer): Promise<boolean> {
    const directory = this.#directory(layer);
    const held = found.devices.map((it) => ({ path: join(directory, String(it.layer)) }));
    const [states, named] = [await statesOf(held), await statesOf(found.devices)];
    if (!states.every((state, at) => isSameState(state, named[at]))) return false;
    this.#unjudged.delete(layer);
    this.#right.set(layer, states);
    return true;
  }

  async #isUnchanged(layer: number): Promise<boolean> {
    const states = this.#right.get(layer) ?? [];
    if (states.length === 0) return false;
    const now = await statesOf(states).catch(() => []); // gone: that is a change
    const isSame = states.every((state, at) => isSameState(state, now[at]));
    if (isSame) return true;
    this.#isNotVouchedFor(layer, states);
    return false;
  }

  #isNotVouchedFor(layer: number, files: readonly FileState[]): void {
    this.#right.set(layer, []);
    this.#options.metrics.count("soci_snapshotter_local_files_changed_total");
    const message = "file that containers read has been changed, its bytes are not vouched for";
    this.#options.logger.error(message, {
      layer,
      files: files.map(({ path }) => path).join(", "),
    });
  }

  async #find(layer: number): Promise<LocalLayer> {
    const found = await this.#options.find(layer);
    if (found === undefined) throw notRight(layer);
    return found;
  }

  async #isInUse(layer: number): Promise<boolean> {
    const { erofs, loops } = this.#inUse();
    const directory = `${this.#directory(layer)}/`;
    if (loops.some((file) => file.startsWith(directory))) return true;
    return (await this.#devicesOf(layer)).some((name) => erofs.has(name));
  }

  async #devicesOf(layer: number): Promise<readonly string[]> {
    try {
      return JSON.parse(await readFile(this.#record(layer), "utf8")) as readonly string[];
    } catch {
      return []; // it was never mounted since the boot, or not from files
    }
  }

  async #letGo(layer: number): Promise<void> {
    const directory = this.#directory(layer);
    for (const name of await readdir(directory).catch(() => [])) {
      await this.#removeName(join(directory, name)); // there may be none: then it was let go of before
    }
    await rm(directory, { recursive: true, force: true });
    await rm(this.#record(layer), { force: true });
  }

  /** What other layers hold stays as it is. */
  async #removeName(path: string): Promise<void> {
    this.#protect(path, false);
    const others = (await stat(path)).nlink - 1;
    // Its first name is the cache's.
    if (others <= 1) return await rm(path);
    await using file = await open(path, "r");
    await rm(path);
    this.#protect(`/proc/self/fd/${file.fd}`, true);
  }

  #protect(path: string, isImmutable: boolean): boolean {
    return (this.#options.protect ?? setImmutable)(path, isImmutable);
  }

  #directory(layer: number): string {
    return join(this.#options.paths.heldFiles, String(layer));
  }

  #record(layer: number): string {
    return join(this.#options.paths.runtime, `held-${layer}.json`);
  }

  #inUse(): KernelUse {
    return (this.#options.inUse ?? kernelUse)();
  }
}

function kernelUse(): KernelUse {
  return { erofs: erofsBackingDevices(), loops: listLoopDevices().map(({ file }) => file) };
}

async function statesOf(
  files: readonly { readonly path: string }[],
): Promise<readonly FileState[]> {
  return await Promise.all(
    files.map(async ({ path }) => {
      const { ino, size, mtimeNs } = await stat(path, { bigint: true });
      return { path, ino, sizeBytes: size, mtimeNs };
    }),
  );
}

/** Gives a file a second name; a name that another file has is taken from it. */
async function linkAs(path: string, name: string): Promise<void> {
  try {
    await link(path, name);
  } catch (error) {
    if (AppError.from(error).code !== "already_exists") throw error;
    if ((await stat(path)).ino === (await stat(name)).ino) return;
    await rm(name);
    await link(path, name);
  }
}

function isSameState(one: FileState, other: FileState | undefined): boolean {
  const { ino, sizeBytes, mtimeNs } = one;
  return ino === other?.ino && sizeBytes === other.sizeBytes && mtimeNs === other.mtimeNs;
}

function notProtected(layer: number): AppError {
  const state = "its file system has no immutable files";
  return new AppError("unimplemented", `Cannot mount layer ${layer} from its file: ${state}`);
}

function notRight(layer: number): AppError {
  const state = "its bytes are not all here and found right";
  return new AppError("failed_precondition", `Cannot mount layer ${layer} from its file: ${state}`);
}
