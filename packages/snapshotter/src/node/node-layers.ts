import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Digest, type IoOptions, type Logger, type Metrics } from "@soci-ts/core";
import { parseReference, type RepositoryName } from "@soci-ts/oci";
import type { LayerOutcome, LayerRequest, NodeLayers, Usage } from "../contract/types.ts";
import type { Door, JsonValue, SlotRecord } from "../mount-record.ts";
import type { ServerCommand } from "../server-process.ts";
import type { LayerReport, WorkedLayer } from "./image-job.ts";
import { ImageJobs } from "./image-jobs.ts";
import { layerFiles } from "./layer-files.ts";
import { type LayerMounter, LayerMounts } from "./layer-mounts.ts";
import { LayerTable, type LayerUse } from "./layer-table.ts";
import { callLocal } from "./local-call.ts";
import { type NodePaths, nodePaths } from "./node-paths.ts";
import { layerStats, type ServerStats, serverStats } from "./server-stats.ts";
import {
  addSlotSource,
  placeNodeSlot,
  readNodeSlot,
  type SlotStats,
  slotDirectory,
} from "./slot-files.ts";
import { ensureKeeper, stopKeeper } from "./start-keeper.ts";

/** What a node's layers are kept with. */
export interface NodeLayersOptions {
  /** The daemon's root. */
  readonly root: string;
  readonly door: Door;
  readonly mounter: LayerMounter;
  /** Starts a keeper (`runKeeper`), which outlives this process. */
  readonly keeper: ServerCommand;
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

/** A layer that was promised to a snapshot may not have one yet. */
const PROMISE_MS = 30_000;

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
  await ensureKeeper(paths, options.keeper);
  return new LazyNodeLayers(paths, options);
}

/** {@link NodeLayers} of this node: numbers are FUSE slots, mounts are EROFS or directories of the FUSE tree. */
export class LazyNodeLayers implements NodeLayers {
  readonly #paths: NodePaths;
  readonly #options: NodeLayersOptions;
  readonly #table: LayerTable;
  readonly #mounts: LayerMounts;
  readonly #jobs: ImageJobs;
  readonly #timer: NodeJS.Timeout;
  /** When a layer was last promised to somebody. */
  readonly #promised = new Map<number, number>();
  #referenced: () => ReadonlySet<number> = () => new Set(this.#table.all());
  #needed: ReadonlySet<number> = new Set();
  #tidying: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(paths: NodePaths, options: NodeLayersOptions) {
    this.#paths = paths;
    this.#options = options;
    this.#table = new LayerTable(paths.database);
    this.#mounts = new LayerMounts({ ...options, paths, idleMs: options.idleReleaseMs });
    this.#jobs = new ImageJobs({
      ...options,
      incoming: paths.incoming,
      take: (report, below) => this.#take(report, below),
    });
    this.#timer = setInterval(() => this.#tidy(), TIDY_INTERVAL_MS).unref();
  }

  /** Says how to find out which layers snapshots have; before that, none is deleted. */
  referencedBy(referenced: () => ReadonlySet<number>): void {
    this.#referenced = referenced;
  }

  async prepareLayer(request: LayerRequest, options: IoOptions = {}): Promise<LayerOutcome> {
    const outcome = await this.#outcome(request, options);
    if (outcome.kind === "lazy") this.#promised.set(outcome.layer, Date.now());
    return outcome;
  }

  mountLayers(layers: readonly number[], options: IoOptions = {}): Promise<readonly string[]> {
    return this.#mounts.mount(layers, options);
  }

  retain(layers: ReadonlySet<number>): void {
    this.#needed = layers;
    this.#mounts.retain(layers);
  }

  /** They go with the next tidying, if nothing needs them then either. */
  async removeLayers(_layers: readonly number[]): Promise<void> {
    this.#jobs.forget();
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

  /** Layers that are mounted now. */
  get mounted(): readonly number[] {
    return this.#mounts.mounted;
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
    await this.#jobs[Symbol.asyncDispose]();
    await this.#tidying;
    if (this.#needed.size === 0) await stopKeeper(this.#paths);
    this.#table[Symbol.dispose]();
  }

  /** A layer that this node has made for the same image before. */
  async #known(request: LayerRequest): Promise<LayerOutcome | undefined> {
    const known = this.#table.findUse(this.#useOf(request));
    if (known === undefined) return undefined;
    try {
      await readNodeSlot(slotDirectory(this.#paths.slots, known.layer));
    } catch (error) {
      const { message } = AppError.from(error);
      this.#options.logger.warn("layer made anew", { layer: known.layer, error: message });
      return undefined;
    }
    return { kind: "lazy", ...known };
  }

  async #outcome(request: LayerRequest, options: IoOptions): Promise<LayerOutcome> {
    try {
      const known = await this.#known(request);
      if (known !== undefined) return known;
      const outcome = await this.#jobs.outcome(request, options);
      if (outcome.kind === "pull" || this.#table.digestOf(outcome.layer)) return outcome;
      // It was removed again meanwhile.
      this.#jobs.forget();
      return await this.#jobs.outcome(request, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      return this.#leftToContainerd(request, AppError.from(error));
    }
  }

  #leftToContainerd(request: LayerRequest, { message }: AppError): LayerOutcome {
    const { imageReference, manifestDigest, layerDigest } = request;
    const steps = [
      { tried: "index", worked: false, why: message },
      { tried: "pull", worked: true, why: "left to containerd" },
    ] as const;
    this.#options.logger.warn("layer left to containerd", { layer: layerDigest, why: message });
    return { kind: "pull", story: { imageReference, manifestDigest, layerDigest, steps } };
  }

  #useOf({ imageReference, manifestDigest, chainId }: UseParts): LayerUse {
    const { registry, repository: path } = parseReference(imageReference);
    const policy = this.#options.policyOf({ registry, repository: path });
    return { repository: `${registry}/${path}`, manifestDigest, chainId, policy };
  }

  async #take(report: LayerReport, below: readonly LayerOutcome[]): Promise<LayerOutcome> {
    const { chainId, story, layer: worked } = report;
    if (worked === undefined) return { kind: "pull", story };
    const { imageReference, manifestDigest } = story;
    const use = this.#useOf({ imageReference, manifestDigest, chainId });
    const source = { image: `${use.repository}@${manifestDigest}` };
    const known = this.#table.find(worked.identity);
    const layer = known ?? (await this.#place(worked, { report, below, source }));
    if (known !== undefined) await addSlotSource(slotDirectory(this.#paths.slots, known), source);
    this.#promised.set(layer, Date.now());
    this.#table.note(use, { layer, story });
    return { kind: "lazy", layer, story };
  }

  /** Gives a new layer its number and its directory. */
  async #place(worked: WorkedLayer, context: PlaceContext): Promise<number> {
    const { identity, layerDigest, data, directory, imagePath, devices } = worked;
    const layer = this.#table.nextNumber();
    const deviceSlots = devices.map((position) => {
      const lower = context.below[position];
      if (position === context.report.position) return layer;
      if (lower?.kind === "lazy") return lower.layer;
      throw new AppError("internal", `Cannot place layer ${layerDigest}: a device is not there`);
    });
    const record: SlotRecord = { layerDigest, data, imagePath, deviceSlots };
    const { source } = context;
    await placeNodeSlot(directory, slotDirectory(this.#paths.slots, layer), { record, source });
    this.#table.add(layer, identity, layerDigest, deviceSlots);
    return layer;
  }

  #tidy(): void {
    const tidy = async (): Promise<void> => {
      await this.#mounts.releaseIdle();
      // A job may just be about to use what looks unneeded.
      if (this.#jobs.running === 0) await this.#removeUnneeded();
    };
    this.#tidying = this.#tidying.then(tidy).catch((error: unknown) => {
      this.#options.logger.error("layers not tidied", { error: AppError.from(error).message });
    });
  }

  async #removeUnneeded(): Promise<void> {
    const referenced = this.#referenced();
    const now = Date.now();
    for (const layer of this.#table.all()) {
      const promisedMs = this.#promised.get(layer) ?? 0;
      if (referenced.has(layer) || now - promisedMs < PROMISE_MS) continue;
      this.#promised.delete(layer);
      await this.#remove(layer);
    }
  }

  /** First its row, then its mount, then its files: whatever is left half-way is found by the next start. */
  async #remove(layer: number): Promise<void> {
    const digest = this.#table.digestOf(layer) as Digest | undefined;
    const directory = slotDirectory(this.#paths.slots, layer);
    const imagePath = await readNodeSlot(directory).then(
      ({ record }) => record.imagePath,
      () => undefined, // it was never placed
    );
    if (!this.#table.remove(layer)) return;
    await this.#mounts.release(layer);
    await callLocal(this.#paths.layersSocket, "close", layer).catch(() => {}); // a server that is gone has nothing open
    await rm(directory, { recursive: true, force: true });
    if (imagePath !== undefined) await rm(imagePath, { force: true });
    if (digest && this.#table.countOf(digest) === 0) {
      const cache = join(this.#paths.store, "layers", digest.replace(":", "-"));
      await rm(cache, { recursive: true, force: true });
    }
    this.#options.logger.info("layer removed", { layer, digest });
  }
}

type UseParts = Pick<LayerRequest, "imageReference" | "manifestDigest" | "chainId">;

interface PlaceContext {
  readonly report: LayerReport;
  readonly below: readonly LayerOutcome[];
  readonly source: JsonValue;
}
