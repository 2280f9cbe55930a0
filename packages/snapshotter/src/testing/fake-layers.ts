import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AppError, type Digest, type IoOptions } from "@soci-ts/core";
import { unmount } from "@soci-ts/linux";
import type {
  IdMappedMounts,
  IdMapping,
  LayerOutcome,
  LayerRequest,
  LayerStory,
  NodeLayers,
  Usage,
} from "../contract/types.ts";

/** Node layers whose "lazy" layers are directories, bind-mounted read-only. Strict unless told otherwise: what is not retained is unmounted at once. */
export class FakeLayers implements NodeLayers {
  /** Requests, in order. */
  readonly requests: LayerRequest[] = [];
  /** What `retain` was last told. */
  retained: ReadonlySet<number> = new Set();
  readonly removed: number[] = [];
  /** Runs before each answer of `prepareLayer` and `mountLayers`. */
  gate: () => Promise<void> = async () => {};
  readonly #root: string;
  readonly #numbers = new Map<Digest, number>();
  readonly #directories: string[] = [];
  readonly #mounted = new Set<number>();
  readonly #mounting = new Map<number, number>();
  readonly #isLenient: boolean;

  constructor(root: string, options: { readonly isLenient?: boolean } = {}) {
    this.#root = root;
    this.#isLenient = options.isLenient ?? false;
  }

  /** Makes a layer one that can be had lazily, with this directory as its content. */
  add(digest: Digest, directory: string): number {
    this.#numbers.set(digest, this.#directories.length + 1);
    return this.#directories.push(directory);
  }

  isMounted(layer: number): boolean {
    return this.#mounted.has(layer);
  }

  async prepareLayer(request: LayerRequest, options: IoOptions = {}): Promise<LayerOutcome> {
    this.requests.push(request);
    await this.gate();
    options.signal?.throwIfAborted();
    const layer = this.#numbers.get(request.layerDigest);
    if (layer === undefined) return { kind: "pull", story: storyOf(request, false) };
    return { kind: "lazy", layer, story: storyOf(request, true) };
  }

  async mountLayers(
    layers: readonly number[],
    options: IoOptions = {},
  ): Promise<readonly string[]> {
    for (const layer of layers) this.#mounting.set(layer, (this.#mounting.get(layer) ?? 0) + 1);
    try {
      await this.gate();
      options.signal?.throwIfAborted();
      return layers.map((layer) => this.#mount(layer));
    } finally {
      for (const layer of layers) this.#mounting.set(layer, (this.#mounting.get(layer) ?? 0) - 1);
    }
  }

  retain(layers: ReadonlySet<number>): void {
    this.retained = layers;
    if (this.#isLenient) return;
    for (const layer of [...this.#mounted]) {
      if (!layers.has(layer) && (this.#mounting.get(layer) ?? 0) === 0) this.#unmount(layer);
    }
  }

  async removeLayers(layers: readonly number[]): Promise<void> {
    this.removed.push(...layers);
    for (const layer of layers) this.#unmount(layer);
  }

  async layerUsage(layer: number): Promise<Usage> {
    return { sizeBytes: layer * 1000, inodes: layer };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const layer of [...this.#mounted]) this.#unmount(layer);
  }

  #mount(layer: number): string {
    const source = this.#directories[layer - 1];
    if (source === undefined) throw new AppError("not_found", `Cannot mount layer ${layer}`);
    const target = join(this.#root, `l${layer}`);
    if (this.#mounted.has(layer)) return target;
    mkdirSync(target, { recursive: true });
    execFileSync("mount", ["-n", "-o", "bind,ro", source, target]);
    this.#mounted.add(layer);
    return target;
  }

  #unmount(layer: number): void {
    if (!this.#mounted.delete(layer)) return;
    execFileSync("umount", ["-n", "-l", join(this.#root, `l${layer}`)]);
  }
}

function storyOf(request: LayerRequest, worked: boolean): LayerStory {
  const { imageReference, manifestDigest, layerDigest } = request;
  const steps = [{ tried: "index", worked, why: worked ? "an index" : "no index" }] as const;
  return { imageReference, manifestDigest, layerDigest, steps };
}

/** Bind mounts instead of id-mapped ones, on record. */
export class FakeIdMappedMounts implements IdMappedMounts {
  readonly calls: (readonly [source: string, target: string, mapping: IdMapping])[] = [];
  readonly unmounted: string[] = [];

  async mount(source: string, target: string, mapping: IdMapping): Promise<void> {
    this.calls.push([source, target, mapping]);
    mkdirSync(target, { recursive: true });
    execFileSync("mount", ["-n", "--bind", source, target]);
  }

  async unmount(target: string): Promise<void> {
    this.unmounted.push(target);
    try {
      await unmount(target, { detach: true });
    } catch (error) {
      if (AppError.from(error).details["errno"] !== "EINVAL") throw error;
    }
  }
}
