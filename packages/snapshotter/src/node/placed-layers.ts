import { existsSync, readdirSync } from "node:fs";
import { open, readdir, rm } from "node:fs/promises";
import { basename } from "node:path";
import { AppError, type Logger, Semaphore, SingleFlight } from "@soci-ts/core";
import { parseReference, type RepositoryName } from "@soci-ts/oci";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import type { JsonValue, SlotRecord } from "../mount-record.ts";
import { type Freed, removeOrphans } from "./garbage.ts";
import type { LayerReport, WorkedLayer } from "./image-job.ts";
import { cacheDirectory } from "./layer-files.ts";
import { LayerTable, type LayerUse } from "./layer-table.ts";
import type { NodePaths } from "./node-paths.ts";
import {
  addSlotSource,
  checkNodeSlot,
  placeNodeSlot,
  readNodeSlot,
  slotDirectory,
  verifyNodeSlot,
} from "./slot-files.ts";

/** What the layers of a node are placed with. */
export interface PlacedLayersOptions {
  readonly paths: NodePaths;
  /** What an index was chosen under, for a repository, as text: what was chosen under another policy is chosen anew. */
  readonly policyOf: (repository: RepositoryName) => string;
  readonly logger: Logger;
}

/** A layer that was promised to a snapshot may not have one yet. */
const PROMISE_MS = 30_000;

/** The layers that this node has on its disk: their numbers, their directories, and what they were made for. */
export class PlacedLayers implements Disposable {
  readonly #options: PlacedLayersOptions;
  readonly #table: LayerTable;
  readonly #placing = new SingleFlight<number>();
  readonly #adding = new Semaphore(1);
  /** Layers whose files were read and found right. */
  readonly #verified = new Set<number>();
  /** When a layer was last promised to somebody. */
  readonly #promised = new Map<number, number>();

  constructor(options: PlacedLayersOptions) {
    this.#options = options;
    this.#table = new LayerTable(options.paths.database, options);
    const names = existsSync(options.paths.slots) ? readdirSync(options.paths.slots) : [];
    this.skipNumbers(Math.max(0, ...names.map(Number).filter(Number.isSafeInteger)));
  }

  /** All layers, half-made ones included, the newest first. */
  all(): readonly number[] {
    return this.#table.all();
  }

  has(layer: number): boolean {
    return this.#table.isPlaced(layer);
  }

  /** Gives no new layer a number up to this one. */
  skipNumbers(last: number): void {
    this.#table.skipNumbers(last);
  }

  /** What a layer was made for, as containerd asked for it: who asks so again gets it made again. */
  requestsOf(layer: number): readonly LayerRequest[] {
    return this.#table.usesOf(layer).map(({ chainId, story }) => {
      const { imageReference, manifestDigest, layerDigest } = story;
      return { imageReference, manifestDigest, layerDigest, chainId };
    });
  }

  /** Keeps a layer from being taken for unneeded for some time. */
  promise(layer: number): void {
    this.#promised.set(layer, Date.now());
  }

  isPromised(layer: number): boolean {
    return Date.now() - (this.#promised.get(layer) ?? 0) < PROMISE_MS;
  }

  /** Somebody who was promised a layer does not want it any more. */
  breakPromise(layer: number): void {
    this.#promised.delete(layer);
  }

  /** A layer that was made for the same image before, promised; `undefined` if there is none, or its files are gone. */
  async find(request: LayerRequest): Promise<LayerOutcome | undefined> {
    const known = this.#table.findUse(this.#useOf(request));
    if (known === undefined) return undefined;
    this.promise(known.layer);
    if (!(await this.isSound(known.layer))) return undefined;
    return { kind: "lazy", ...known };
  }

  /** Gives a reported layer its number, and promises it. What is wrong with one layer is in its outcome. */
  async take(report: LayerReport, below: readonly LayerOutcome[]): Promise<LayerOutcome> {
    const { chainId, story, layer: worked } = report;
    if (worked === undefined) return { kind: "pull", story };
    try {
      const { imageReference, manifestDigest } = story;
      const use = this.#useOf({ imageReference, manifestDigest, chainId });
      const source = { image: `${use.repository}@${manifestDigest}` };
      const place = { position: report.position, below, source };
      // Two images that share a layer may be made ready at once.
      const layer = await this.#placing.do(worked.identity, () => this.#place(worked, place));
      await this.#adding.run(() => addSlotSource(this.#directory(layer), source));
      this.promise(layer);
      this.#table.note(use, { layer, story });
      return { kind: "lazy", layer, story };
    } catch (error) {
      const { message } = AppError.from(error);
      this.#options.logger.error("layer not placed", { layer: story.layerDigest, error: message });
      return { kind: "pull", story: withFailure(story, message) };
    }
  }

  /**
   * Forgets a layer and deletes its files; nothing happens if another layer's devices need it.
   * First its row, its directory last: what a crash leaves half-way, {@link PlacedLayers.orphans} finds.
   * @param close - makes the layer server let go of it.
   */
  async remove(layer: number, close: (layer: number) => Promise<void>): Promise<void> {
    const directory = this.#directory(layer);
    const record = await readNodeSlot(directory).then(
      (slot) => slot.record,
      (error: unknown) => {
        if (AppError.from(error).code === "failed_precondition") throw error;
        return undefined; // it was never placed, or is damaged
      },
    );
    if (!this.#table.remove(layer)) return;
    this.#promised.delete(layer);
    this.#verified.delete(layer);
    await close(layer);
    if (record !== undefined) {
      await rm(record.imagePath, { force: true });
      await this.#removeCache(record);
    }
    await rm(directory, { recursive: true, force: true });
    this.#options.logger.info("layer removed", { layer, digest: record?.layerDigest });
  }

  /**
   * Whether a layer's files are there and, once for each layer and process, what they should be: after a power cut they may not be.
   * @throws AppError `failed_precondition` if a newer version wrote them.
   */
  async isSound(layer: number): Promise<boolean> {
    const directory = this.#directory(layer);
    try {
      await (this.#verified.has(layer) ? checkNodeSlot(directory) : verifyNodeSlot(directory));
      this.#verified.add(layer);
      return true;
    } catch (error) {
      const { code, message } = AppError.from(error);
      if (code === "failed_precondition") throw error;
      this.#verified.delete(layer);
      this.#options.logger.warn("layer's files are damaged", { layer, error: message });
      return false;
    }
  }

  /** Directories of layers that are not in the table any more. */
  async orphans(): Promise<readonly number[]> {
    const known = new Set(this.all());
    const names = await readdir(this.#options.paths.slots);
    return names.map(Number).filter((it) => Number.isSafeInteger(it) && !known.has(it));
  }

  /** Forgets for what layers were made that nobody asks for any more. @returns how many records went. */
  forgetOldUses(): number {
    return this.#table.forgetOldUses();
  }

  /** Deletes what is on the disk of no layer; no job may run. */
  async removeOrphanFiles(): Promise<Freed> {
    const { paths } = this.#options;
    const folders = [...this.#table.digests()].map((it) => basename(cacheDirectory(paths, it)));
    const known = new Set(folders);
    return await removeOrphans(paths, (folder) => known.has(folder));
  }

  [Symbol.dispose](): void {
    this.#table[Symbol.dispose]();
  }

  async #place(
    worked: WorkedLayer,
    place: {
      readonly position: number;
      readonly below: readonly LayerOutcome[];
      readonly source: JsonValue;
    },
  ): Promise<number> {
    const { identity, layerDigest, data, directory, imagePath, devices } = worked;
    const known = this.#table.find(identity);
    if (known !== undefined) {
      this.promise(known);
      if (await this.isSound(known)) return known;
    }
    // What is damaged is replaced where it is: equal identity means equal files and bytes.
    const layer = known ?? this.#table.nextNumber();
    this.promise(layer);
    const deviceSlots = devices.map((position) => {
      if (position === place.position) return layer;
      const lower = place.below[position];
      if (lower?.kind === "lazy") return lower.layer;
      const state = `layer ${position} of its image, whose files it shows too, was left to containerd`;
      throw new AppError("failed_precondition", `Cannot place layer ${layerDigest}: ${state}`);
    });
    const record: SlotRecord = { layerDigest, data, imagePath, deviceSlots };
    await flushFile(imagePath);
    await placeNodeSlot(directory, this.#directory(layer), { record, source: place.source });
    this.#table.add(layer, identity, layerDigest, deviceSlots);
    return layer;
  }

  /** Layers of one blob share its cache. */
  async #removeCache({ layerDigest }: SlotRecord): Promise<void> {
    if (this.#table.countOf(layerDigest) > 0) return;
    const cache = cacheDirectory(this.#options.paths, layerDigest);
    await rm(cache, { recursive: true, force: true });
  }

  #directory(layer: number): string {
    return slotDirectory(this.#options.paths.slots, layer);
  }

  #useOf({
    imageReference,
    manifestDigest,
    chainId,
  }: Pick<LayerRequest, "imageReference" | "manifestDigest" | "chainId">): LayerUse {
    const { registry, repository: path } = parseReference(imageReference);
    const policy = this.#options.policyOf({ registry, repository: path });
    return { repository: `${registry}/${path}`, manifestDigest, chainId, policy };
  }
}

function withFailure(story: LayerReport["story"], why: string): LayerReport["story"] {
  const steps = [
    ...story.steps,
    { tried: "index", worked: false, why, kind: "index_failed" },
    { tried: "pull", worked: true, why: "left to containerd" },
  ] as const;
  return { ...story, steps };
}

/** A power cut must not leave a name without its bytes: what is on record here is not made anew. */
async function flushFile(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}
