import { mkdir, rm, stat } from "node:fs/promises";
import { AppError, type IoOptions, type Logger, type Metrics } from "@soci-ts/core";
import type { RepositoryName } from "@soci-ts/oci";
import type { LayerOutcome, LayerRequest, NodeLayers, Usage } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import type { ServerCommand } from "../server-process.ts";
import { allocatedBelow } from "./evictable-layers.ts";
import { type Freed, type GarbageReport, removeTemporaries } from "./garbage.ts";
import { HeldFiles } from "./held-files.ts";
import { ImageJobs } from "./image-jobs.ts";
import { type Program, runningKeeper } from "./keeper-record.ts";
import { layerFiles } from "./layer-files.ts";
import { type LayerMounter, type LayerMountPoint, LayerMounts } from "./layer-mounts.ts";
import { localLayer } from "./local-data.ts";
import { type NodePaths, nodePaths } from "./node-paths.ts";
import { PlacedLayers } from "./placed-layers.ts";
import {
  closeServedLayer,
  evictServedLayers,
  layerStats,
  type ServerStats,
  serverStats,
} from "./server-stats.ts";
import type { SlotStats } from "./slot-files.ts";
import { ensureKeeper, stopKeeper } from "./start-keeper.ts";

/** What a node's layers are kept with. */
export interface NodeLayersOptions {
  /** The daemon's root. */
  readonly root: string;
  readonly door: Door;
  readonly mounter: LayerMounter;
  /** Whether a layer that is whole is mounted from its own file; the door `fuse` mounts none. */
  readonly local: "auto" | "off";
  /** Starts a keeper (`runKeeper`), which outlives this process. */
  readonly keeper: ServerCommand;
  /** What this process is: a keeper of another program is replaced. */
  readonly program: Program;
  /** Starts an image worker (`runImageWorker`). */
  readonly worker: ServerCommand;
  /** The trust policy for a repository, as text: what was chosen under another policy is chosen anew. */
  readonly policyOf: (repository: RepositoryName) => string;
  readonly idleReleaseMs: number;
  readonly failureMemoryMs: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How often idle mounts and layers that nobody needs are looked at. */
const TIDY_INTERVAL_MS = 5000;

/**
 * Opens the layers of this node: a keeper and a layer server run when this resolves, those of an earlier daemon if they are alive.
 * @throws AppError `unavailable` if the layer server can't be started; what opening the tables throws.
 */
export async function openNodeLayers(options: NodeLayersOptions): Promise<LazyNodeLayers> {
  const paths = nodePaths(options.root);
  for (const path of [paths.runtime, paths.slots, paths.mounts]) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  }
  await rm(paths.incoming, { recursive: true, force: true });
  await ensureKeeper(paths, { ...options, command: options.keeper });
  return new LazyNodeLayers(paths, options);
}

/** {@link NodeLayers} of this node: numbers are FUSE slots, mounts are EROFS or directories of the FUSE tree. */
export class LazyNodeLayers implements NodeLayers {
  readonly #paths: NodePaths;
  readonly #options: NodeLayersOptions;
  readonly #placed: PlacedLayers;
  readonly #localFiles: HeldFiles;
  readonly #mounts: LayerMounts;
  readonly #jobs: ImageJobs;
  readonly #timer: NodeJS.Timeout;
  #referenced: (() => ReadonlySet<number>) | undefined;
  #needed: ReadonlySet<number> = new Set();
  #tidying: Promise<void> = Promise.resolve();
  /** A layer's removal, while one goes on. */
  #removal: Promise<void> | undefined;
  #isClosed = false;

  constructor(paths: NodePaths, options: NodeLayersOptions) {
    this.#paths = paths;
    this.#options = options;
    this.#placed = new PlacedLayers({ ...options, paths });
    const find = (layer: number) => localLayer(paths, layer);
    this.#localFiles = new HeldFiles({ ...options, paths, find });
    const idleMs = options.idleReleaseMs;
    this.#mounts = new LayerMounts({ ...options, localFiles: this.#localFiles, paths, idleMs });
    this.#jobs = new ImageJobs({
      ...options,
      incoming: paths.incoming,
      take: (report, below) => this.#placed.take(report, below),
    });
    this.#timer = setInterval(() => void this.#tidy(), TIDY_INTERVAL_MS).unref();
  }

  /** Says how to find out which layers snapshots have; before that, none is deleted. */
  referencedBy(referenced: () => ReadonlySet<number>): void {
    this.#referenced = referenced;
    this.#placed.skipNumbers(Math.max(0, ...referenced()));
  }

  /** A lazy layer is promised before this resolves: it is not taken for unneeded while it has no snapshot yet. */
  async prepareLayer(request: LayerRequest, options: IoOptions = {}): Promise<LayerOutcome> {
    try {
      return (await this.#placed.find(request)) ?? (await this.#make(request, options));
    } catch (error) {
      options.signal?.throwIfAborted();
      return leftToContainerd(request, AppError.from(error));
    }
  }

  async mountLayers(
    layers: readonly number[],
    options: IoOptions = {},
  ): Promise<readonly string[]> {
    const mounted = new Set(this.#options.door === "fuse" ? [] : this.#mounts.mounted);
    for (const layer of layers) if (!mounted.has(layer)) await this.#heal(layer, options);
    return await this.#mounts.mount(layers, options);
  }

  retain(layers: ReadonlySet<number>): void {
    this.#needed = layers;
    this.#mounts.retain(layers);
  }

  /** Nobody is left to whom they were promised: they go now, unless a job runs or another layer needs them; then, with a later tidying. */
  async removeLayers(layers: readonly number[]): Promise<void> {
    for (const layer of layers) this.#placed.breakPromise(layer);
    await this.#tidy();
  }

  async layerUsage(layer: number): Promise<Usage> {
    let sizeBytes = 0;
    let inodes = 0;
    for (const path of await layerFiles(this.#paths, layer)) {
      const found = await stat(path).catch(() => undefined); // not written yet, or gone
      if (found === undefined) continue;
      sizeBytes += found.blocks * 512;
      inodes += 1;
    }
    return { sizeBytes, inodes };
  }

  /**
   * Frees disk space: layers that no snapshot needs, what belongs to no layer, and cached bytes beyond the limits; `all`: all cached bytes that nobody
   * has read lately. Waits for what is being tidied. @throws AppError if the disk can't be read.
   */
  collectGarbage(options: { readonly all: boolean }): Promise<GarbageReport> {
    const collecting = this.#tidying.then(() => this.#collect(options));
    this.#tidying = collecting.then(
      () => {},
      () => {}, // the caller is told
    );
    return collecting;
  }

  /** Layers that are mounted now. */
  get mounted(): readonly number[] {
    return this.#mounts.mounted;
  }

  /** Where they are mounted: one that has become whole may be in two places. */
  get mountPoints(): readonly LayerMountPoint[] {
    return this.#mounts.points;
  }

  /** Images that are being made ready now. */
  get runningJobs(): number {
    return this.#jobs.running;
  }

  /** What the layer server says of itself; `undefined` while there is none that answers. */
  async serverStats(options: IoOptions = {}): Promise<ServerStats | undefined> {
    return await serverStats(this.#paths, options).catch(() => undefined);
  }

  /** What reading layers has cost since they came to this node. */
  async layerStats(layers: readonly number[]): Promise<ReadonlyMap<number, SlotStats>> {
    return await layerStats(this.#paths, layers, await this.serverStats());
  }

  /**
   * Stops what runs for this process. Where snapshots need layers, keeper and server go on without it, and the next daemon finds them;
   * where none does, they are ended too.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    using _placed = this.#placed;
    await this.#jobs[Symbol.asyncDispose]();
    await this.#tidying;
    if (this.#needed.size > 0) return;
    await stopKeeper(this.#paths);
    await this.#localFiles.releaseAll();
  }

  async #make(request: LayerRequest, options: IoOptions): Promise<LayerOutcome> {
    const outcome = await this.#jobOutcome(request, options);
    if (outcome.kind === "pull") return outcome;
    if (this.#placed.has(outcome.layer)) {
      this.#placed.promise(outcome.layer);
      return outcome;
    }
    // It was removed again meanwhile.
    this.#jobs.forget(request);
    return await this.#jobOutcome(request, options);
  }

  /** Has a layer made again whose files are damaged, under its number. Whether that worked, mounting it tells. */
  async #heal(layer: number, options: IoOptions): Promise<void> {
    if (await this.#placed.isSound(layer)) return;
    const { logger } = this.#options;
    for (const request of this.#placed.requestsOf(layer)) {
      this.#jobs.forget(request);
      const outcome = await this.#jobOutcome(request, options);
      if (outcome.kind === "lazy" && (await this.#placed.isSound(layer))) {
        logger.info("damaged layer made again", { layer });
        return;
      }
    }
    const error = "want its registry to answer; `soci-snapshotter repair IMAGE` if it has changed";
    logger.error("damaged layer not made again", { layer, code: "data_loss", error });
  }

  /** No layer is removed while a job runs, which may be about to use it; so none must start while one is being removed. */
  async #jobOutcome(request: LayerRequest, options: IoOptions): Promise<LayerOutcome> {
    let removal: Promise<void> | undefined;
    while (removal !== this.#removal) {
      removal = this.#removal;
      await removal;
    }
    return await this.#jobs.outcome(request, options);
  }

  /** One after the other; what fails is logged. */
  #tidy(): Promise<void> {
    const tidy = async (): Promise<void> => {
      if (this.#isClosed) return;
      await this.#reviveKeeper();
      await this.#mounts.releaseIdle();
      await this.#removeUnneeded();
    };
    this.#tidying = this.#tidying.then(tidy).catch((error: unknown) => {
      this.#options.logger.error("layers not tidied", { error: AppError.from(error).message });
    });
    return this.#tidying;
  }

  /** Its server goes on with another one. If both were killed, all that hung on them is dead: new ones are for what is mounted from now on. */
  async #reviveKeeper(): Promise<void> {
    if ((await runningKeeper(this.#paths)) !== undefined) return;
    const { keeper: command, program, logger } = this.#options;
    logger.error("keeper is gone, another one is started");
    await ensureKeeper(this.#paths, { command, program, logger });
  }

  async #collect({ all }: { readonly all: boolean }): Promise<GarbageReport> {
    const notes: string[] = [];
    const layers = await this.#countFreed(() => this.#removeUnneeded());
    const orphans = await this.#removeOrphanFiles(notes);
    const temporaries = await removeTemporaries(this.#paths);
    const records = this.#placed.forgetOldUses();
    const evicted = await evictServedLayers(this.#paths, { all }).catch((error: unknown) => {
      notes.push(`nothing was evicted: ${AppError.from(error).message}`);
      return undefined;
    });
    return { layers, orphans, temporaries, records, evicted, notes };
  }

  /** Layers that `work` removes, by what their files took. */
  async #countFreed(work: () => Promise<void>): Promise<Freed> {
    const size = async (): Promise<number> =>
      (await allocatedBelow(this.#paths.slots)) + (await allocatedBelow(this.#paths.store));
    const before = { count: this.#placed.all().length, sizeBytes: await size() };
    await work();
    return {
      count: before.count - this.#placed.all().length,
      // Others may have written meanwhile.
      sizeBytes: Math.max(0, before.sizeBytes - (await size())),
    };
  }

  async #removeOrphanFiles(notes: string[]): Promise<Freed> {
    if (this.#jobs.running > 0) {
      notes.push("caches of no layer were left alone: an image is being made ready");
      return { count: 0, sizeBytes: 0 };
    }
    return await this.#whileNoJobBegins(() => this.#placed.removeOrphanFiles());
  }

  async #removeUnneeded(): Promise<void> {
    const referenced = this.#referenced?.();
    if (referenced === undefined) return;
    const orphans = await this.#placed.orphans();
    for (const layer of [...this.#placed.all(), ...orphans]) {
      if (referenced.has(layer) || this.#placed.isPromised(layer)) continue;
      await this.#mounts.release(layer);
      if (this.#jobs.running > 0 || this.#isClosed) return;
      // Somebody may have come to need it while it was unmounted.
      if (this.#referenced?.().has(layer) || this.#placed.isPromised(layer)) continue;
      await this.#remove(layer);
    }
  }

  async #remove(layer: number): Promise<void> {
    const close = (it: number): Promise<void> => closeServedLayer(this.#paths, it);
    await this.#whileNoJobBegins(() => this.#placed.remove(layer, close));
  }

  async #whileNoJobBegins<T>(work: () => Promise<T>): Promise<T> {
    const removal = work();
    this.#removal = removal.then(
      () => {},
      () => {}, // thrown below
    );
    try {
      return await removal;
    } finally {
      this.#removal = undefined;
    }
  }
}

/** Its caller logs it. */
function leftToContainerd(request: LayerRequest, { message }: AppError): LayerOutcome {
  const { imageReference, manifestDigest, layerDigest } = request;
  const steps = [
    { tried: "index", worked: false, why: message },
    { tried: "pull", worked: true, why: "left to containerd" },
  ] as const;
  return { kind: "pull", story: { imageReference, manifestDigest, layerDigest, steps } };
}
