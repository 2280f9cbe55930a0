import { AppError, type IoOptions, type Logger } from "@soci-ts/core";
import type { Metastore } from "./metastore.ts";
import type { LayerOutcome, LayerRequest, NodeLayers } from "./types.ts";

/**
 * Tells the node's layers what snapshots need of them, with the gaps closed: a layer is needed from before it is mounted until the row that stands on
 * it is there, and is not forgotten while a Prepare may just have been given its number.
 */
export class LayerKeeper {
  readonly #layers: NodeLayers;
  readonly #metastore: Metastore;
  readonly #logger: Logger;
  /** Holders by layer. */
  readonly #held = new Map<number, number>();
  readonly #released = new Set<number>();
  readonly #removals = new Set<Promise<void>>();
  #preparing = 0;

  constructor(parts: {
    readonly layers: NodeLayers;
    readonly metastore: Metastore;
    readonly logger: Logger;
  }) {
    this.#layers = parts.layers;
    this.#metastore = parts.metastore;
    this.#logger = parts.logger;
  }

  /**
   * Mounts layers, and runs `work` with their directories while they are held.
   * @throws AppError `unavailable` if they can't be mounted; what `work` throws.
   */
  async withMounted<T>(
    layers: readonly number[],
    work: (directories: ReadonlyMap<number, string>) => Promise<T>,
    options: IoOptions = {},
  ): Promise<T> {
    for (const layer of layers) this.#held.set(layer, (this.#held.get(layer) ?? 0) + 1);
    try {
      return await work(await this.#mount(layers, options));
    } finally {
      for (const layer of layers) this.#drop(layer);
      this.retain();
      this.#removeReleased();
    }
  }

  /** Says what is needed now. */
  retain(): void {
    const needed = this.#metastore.neededLayers();
    this.#layers.retain(new Set([...needed, ...this.#held.keys()]));
  }

  /** Makes a layer ready, and runs `record` with the outcome before anybody can take the layer for unused. */
  async prepare<T>(
    request: LayerRequest,
    record: (outcome: LayerOutcome) => T,
    options: IoOptions,
  ): Promise<T> {
    this.#preparing += 1;
    let layer: number | undefined;
    try {
      const outcome = await this.#layers.prepareLayer(request, options);
      if (outcome.kind === "lazy") layer = outcome.layer;
      return record(outcome);
    } finally {
      this.#preparing -= 1;
      // If it was not recorded, nobody has it.
      if (layer !== undefined) this.#released.add(layer);
      this.#removeReleased();
    }
  }

  /** A snapshot that was this layer is gone. If it was the last one, the layer is forgotten, in the background. */
  release(layer: number): void {
    this.#released.add(layer);
    this.#removeReleased();
  }

  /** Resolves when what was to be forgotten is. */
  async settled(): Promise<void> {
    await Promise.all(this.#removals);
  }

  #removeReleased(): void {
    if (this.#preparing > 0) return;
    const free = [...this.#released].filter((layer) => !this.#held.has(layer));
    for (const layer of free) this.#released.delete(layer);
    const unused = free.filter((layer) => !this.#metastore.hasLayer(layer));
    if (unused.length === 0) return;
    const removal = this.#layers.removeLayers(unused).catch((error: unknown) => {
      this.#logger.warn("lazy layers not removed", { error: AppError.from(error).message });
    });
    this.#removals.add(removal);
    void removal.then(() => this.#removals.delete(removal));
  }

  async #mount(
    layers: readonly number[],
    options: IoOptions,
  ): Promise<ReadonlyMap<number, string>> {
    const mounted = new Map<number, string>();
    if (layers.length === 0) return mounted;
    const directories = await this.#layers
      .mountLayers(layers, options)
      .catch((error: unknown) => Promise.reject(mountFailure(error)));
    for (const [at, layer] of layers.entries()) {
      const directory = directories[at];
      if (directory !== undefined) mounted.set(layer, directory);
    }
    return mounted;
  }

  #drop(layer: number): void {
    const holders = (this.#held.get(layer) ?? 0) - 1;
    if (holders > 0) this.#held.set(layer, holders);
    else this.#held.delete(layer);
  }
}

/** Whoever asks again later may have more luck, which is what `unavailable` says; an abort is the caller's own. */
function mountFailure(error: unknown): AppError {
  const cause = AppError.from(error);
  if (["unavailable", "cancelled", "deadline_exceeded"].includes(cause.code)) return cause;
  const message = `Cannot mount lazy layers: ${cause.message}`;
  return new AppError("unavailable", message, { cause, details: cause.details });
}
