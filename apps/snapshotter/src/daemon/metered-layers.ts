import type { IoOptions } from "@soci-ts/core";
import type {
  LayerOutcome,
  LayerRequest,
  LayerStep,
  NodeLayers,
  Usage,
} from "@soci-ts/snapshotter";
import type { NodeMetrics } from "../metrics.ts";
import { RecentStories } from "./recent-stories.ts";

/** Layers, with what becomes of them counted, and remembered for a while. What is below stays the caller's to close. */
export class MeteredLayers implements NodeLayers {
  readonly stories: RecentStories = new RecentStories();
  readonly #layers: NodeLayers;
  readonly #metrics: NodeMetrics;
  readonly #fallbacks = new Map<string, number>();

  constructor(layers: NodeLayers, metrics: NodeMetrics) {
    this.#layers = layers;
    this.#metrics = metrics;
  }

  async prepareLayer(request: LayerRequest, options?: IoOptions): Promise<LayerOutcome> {
    const startedMs = performance.now();
    const outcome = await this.#layers.prepareLayer(request, options);
    this.stories.note(outcome.story);
    const labels = { outcome: nameOf(outcome) };
    this.#metrics.count("soci_snapshotter_layers_total", 1, labels);
    const seconds = (performance.now() - startedMs) / 1000;
    this.#metrics.observe("soci_snapshotter_prepare_duration_seconds", seconds, labels);
    for (const step of outcome.story.steps) this.#countStep(step);
    return outcome;
  }

  async mountLayers(layers: readonly number[], options?: IoOptions): Promise<readonly string[]> {
    const startedMs = performance.now();
    try {
      const mounted = await this.#layers.mountLayers(layers, options);
      const seconds = (performance.now() - startedMs) / 1000;
      this.#metrics.observe("soci_snapshotter_mount_duration_seconds", seconds);
      return mounted;
    } catch (error) {
      this.#fellBack("mount_failed");
      throw error;
    }
  }

  retain(layers: ReadonlySet<number>): void {
    this.#layers.retain(layers);
  }

  removeLayers(layers: readonly number[]): Promise<void> {
    return this.#layers.removeLayers(layers);
  }

  layerUsage(layer: number): Promise<Usage> {
    return this.#layers.layerUsage(layer);
  }

  /** Steps back since the start, by kind. */
  fallbacks(): readonly { readonly kind: string; readonly count: number }[] {
    return [...this.#fallbacks].map(([kind, count]) => ({ kind, count }));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #fellBack(kind: string): void {
    this.#fallbacks.set(kind, (this.#fallbacks.get(kind) ?? 0) + 1);
    this.#metrics.count("soci_snapshotter_fallbacks_total", 1, { kind });
  }

  #countStep({ tried, worked, kind }: LayerStep): void {
    if (worked || tried === "pull") return;
    this.#fellBack(tried === "stream" ? "stream_failed" : (kind ?? "index_failed"));
  }
}

function nameOf({ kind, story }: LayerOutcome): "lazy" | "streamed" | "pulled" {
  if (kind === "pull") return "pulled";
  const isStreamed = story.steps.some(({ tried, worked }) => tried === "stream" && worked);
  return isStreamed ? "streamed" : "lazy";
}
