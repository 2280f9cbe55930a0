import { AppError, type Logger, SingleFlight } from "@soci-ts/core";
import { type ImageLayerLabels, REF_LABEL, REMOTE_LABEL } from "./image-labels.ts";
import type { LayerKeeper } from "./layer-keeper.ts";
import type { Metastore } from "./metastore.ts";
import { untilPast } from "./moment.ts";
import type { SnapshotRecord } from "./records.ts";
import type { Labels, LayerOutcome, LayerStory } from "./types.ts";

/** What was done for an image layer. */
export type ImageLayerOutcome =
  | { readonly kind: "already-committed"; readonly name: string }
  /** containerd is to bring it. */
  | { readonly kind: "pull"; readonly story: LayerStory };

/** A Prepare for an image layer. */
export interface ImageLayerRequest {
  readonly key: string;
  readonly parent: string;
  readonly labels: Labels;
  readonly target: ImageLayerLabels;
}

/**
 * Prepare of an image layer. containerd looks for what was "already there" by two things: the label `containerd.io/snapshot.ref`, and the parent it gave. So
 * the name that a lazy layer gets is made of these two, and two namespaces with the same image end up with the same snapshots.
 */
export class ImageLayers {
  readonly #metastore: Metastore;
  readonly #keeper: LayerKeeper;
  readonly #logger: Logger;
  readonly #flights = new SingleFlight<ImageLayerOutcome>();

  constructor(parts: {
    readonly metastore: Metastore;
    readonly keeper: LayerKeeper;
    readonly logger: Logger;
  }) {
    this.#metastore = parts.metastore;
    this.#keeper = parts.keeper;
    this.#logger = parts.logger;
  }

  /**
   * Finds the layer, or makes it a lazy one. Requests for one layer on one parent share the work.
   * @throws AppError for what is wrong with key or parent, before anything is done.
   */
  async prepare(request: ImageLayerRequest, signal: AbortSignal): Promise<ImageLayerOutcome> {
    const { key, parent, target } = request;
    const below = parent === "" ? undefined : this.#metastore.require(parent, "extend");
    const there = this.#metastore.findCommitted(target.chainId, below?.id);
    if (there !== undefined) return { kind: "already-committed", name: there.name };
    this.#metastore.checkNew({ name: key, kind: "active", parent, labels: {} });
    return await this.#flights.do(
      nameOf(target.chainId, below),
      (shared) => this.#fly(request, below, shared),
      signal,
    );
  }

  async #fly(
    { parent, labels, target }: ImageLayerRequest,
    below: SnapshotRecord | undefined,
    signal: AbortSignal,
  ): Promise<ImageLayerOutcome> {
    const outcome = await this.#keeper.prepare(
      target,
      (result): ImageLayerOutcome | SnapshotRecord => {
        if (result.kind === "pull") return this.#pull(result.story);
        return this.#commit(result, { name: nameOf(target.chainId, below), parent, labels });
      },
      { signal },
    );
    if (outcome.kind === "pull" || outcome.kind === "already-committed") return outcome;
    await untilPast(outcome.updatedAt.getTime());
    return { kind: "already-committed", name: outcome.name };
  }

  #pull(story: LayerStory): ImageLayerOutcome {
    const { layerDigest, imageReference, steps } = story;
    this.#logger.warn("layer left to containerd", {
      layer: layerDigest,
      image: imageReference,
      why: steps.map(({ tried, why }) => `${tried}: ${why}`).join("; "),
    });
    return { kind: "pull", story };
  }

  #commit(
    { layer, story }: Extract<LayerOutcome, { kind: "lazy" }>,
    place: { readonly name: string; readonly parent: string; readonly labels: Labels },
  ): SnapshotRecord {
    const labels = { ...place.labels, [REMOTE_LABEL]: "remote snapshot" };
    const record = this.#insert({ ...place, labels, layer, story });
    this.#logger.info("layer is lazy", {
      layer: story.layerDigest,
      image: story.imageReference,
      snapshot: record.name,
    });
    return record;
  }

  /** The name may be taken by the same layer: made by a racing request, or one that lost its label in an update and then gets it back. */
  #insert(snapshot: {
    readonly name: string;
    readonly parent: string;
    readonly labels: Labels;
    readonly layer: number;
    readonly story: LayerStory;
  }): SnapshotRecord {
    const { name, parent, labels } = snapshot;
    const there = this.#metastore.find(name);
    if (there === undefined) return this.#metastore.insert({ ...snapshot, kind: "committed" });
    if (there.layer === undefined || there.parent !== parent) {
      const message = `Cannot commit lazy layer as ${JSON.stringify(name)}: somebody else's snapshot has this name, want it removed`;
      throw new AppError("failed_precondition", message);
    }
    if (there.labels[REF_LABEL] === labels[REF_LABEL]) return there;
    return this.#metastore.update(name, labels, {
      kind: "labels",
      keys: Object.keys(labels),
    });
  }
}

/** For example `lazy/0/sha256:…` at the bottom, `lazy/17/sha256:…` on snapshot 17. */
function nameOf(chainId: string, below: SnapshotRecord | undefined): string {
  return `lazy/${below?.id ?? 0}/${chainId}`;
}
