import type { Digest, IoOptions } from "@soci-ts/core";
import type { ConsideredIndex } from "@soci-ts/soci";

/** What a snapshot is: being written (`active`), looked at (`view`), or part of an image (`committed`). */
export type SnapshotKind = "active" | "view" | "committed";

/** Labels of a snapshot: containerd's own, and those that clients hang on it. */
export type Labels = Readonly<Record<string, string>>;

/** What is known of a snapshot (containerd.services.snapshots.v1 `Info`). */
export interface SnapshotInfo {
  readonly kind: SnapshotKind;
  /** Its key (active, view) or name (committed): one name space, opaque text, with or without containerd's `NAMESPACE/N/` in front. */
  readonly name: string;
  /** Name of the committed snapshot below; "" at the bottom. */
  readonly parent: string;
  readonly labels: Labels;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** One mount(2) that the caller is to make (containerd.types `Mount`). */
export interface Mount {
  readonly type: "bind" | "overlay";
  readonly source: string;
  readonly options: readonly string[];
}

/** Disk space of a snapshot, that of its parents not counted. */
export interface Usage {
  readonly sizeBytes: number;
  readonly inodes: number;
}

/** What `prepare` did. */
export type PrepareOutcome =
  | { readonly kind: "mounts"; readonly mounts: readonly Mount[] }
  /** The labels named an image layer (`containerd.io/snapshot.ref`) that is there now as a committed snapshot; no active one was made. */
  | { readonly kind: "already-committed"; readonly name: string };

/** Which labels `update` sets: all of them, or those named. */
export type UpdateMask =
  | { readonly kind: "all" }
  | { readonly kind: "labels"; readonly keys: readonly string[] };

/**
 * containerd's snapshot contract (`snapshots.Snapshotter`), with no gRPC in it. All errors are AppErrors: `not_found`, `already_exists`,
 * `failed_precondition`, `invalid_argument` as containerd's errdefs use them; `unavailable` if what a lazy layer needs is not to be had now.
 */
export interface SnapshotService extends AsyncDisposable {
  prepare(
    key: string,
    parent: string,
    labels: Labels,
    options?: IoOptions,
  ): Promise<PrepareOutcome>;
  view(key: string, parent: string, labels: Labels, options?: IoOptions): Promise<readonly Mount[]>;
  /** Mounts of an active snapshot or a view; what they name is mounted when this resolves. */
  mounts(key: string, options?: IoOptions): Promise<readonly Mount[]>;
  commit(name: string, key: string, labels: Labels): Promise<void>;
  remove(key: string): Promise<void>;
  stat(key: string): Promise<SnapshotInfo>;
  update(info: Pick<SnapshotInfo, "name" | "labels">, mask: UpdateMask): Promise<SnapshotInfo>;
  /** All snapshots that match one of the filters (containerd's filter language); all of them without filters. */
  list(filters: readonly string[]): AsyncIterable<SnapshotInfo>;
  usage(key: string, options?: IoOptions): Promise<Usage>;
  /** Removes what no snapshot needs any more from the disk. */
  cleanup(): Promise<void>;
}

/** An image layer that containerd asks about, from the labels of its Prepare. */
export interface LayerRequest {
  /** `containerd.io/snapshot/cri.image-ref`. */
  readonly imageReference: string;
  /** `containerd.io/snapshot/cri.manifest-digest`. */
  readonly manifestDigest: Digest;
  /** `containerd.io/snapshot/cri.layer-digest`. */
  readonly layerDigest: Digest;
  /** `containerd.io/snapshot.ref`: the chainID that the snapshot is to have. */
  readonly chainId: string;
}

/** One thing that was tried for a layer, in order; for `explain`. Plain words, no secrets. */
export interface LayerStep {
  /** `index`: a SOCI index; `stream`: read whole and indexed on the node; `pull`: left to containerd. */
  readonly tried: "index" | "stream" | "pull";
  readonly worked: boolean;
  /** Why it was taken, or why not. */
  readonly why: string;
  /** Of what did not work, for counting. */
  readonly kind?: "no_index" | "index_refused" | "index_failed" | "ztoc_failed" | undefined;
}

/** What is remembered about how a layer came to be; kept with the snapshot. */
export interface LayerStory {
  readonly imageReference: string;
  readonly manifestDigest: Digest;
  readonly layerDigest: Digest;
  /** Length of the layer's blob, where it is known. */
  readonly sizeBytes?: number | undefined;
  /** The SOCI index that it is read by, and where that was found. */
  readonly indexDigest?: Digest | undefined;
  readonly indexOrigin?: string | undefined;
  /** All that were found for the image, also those that the trust policy refused. */
  readonly considered?: readonly ConsideredIndex[] | undefined;
  readonly steps: readonly LayerStep[];
}

/** What became of a layer. */
export type LayerOutcome =
  /** It can be mounted: `layer` names it on this node for good. */
  | { readonly kind: "lazy"; readonly layer: number; readonly story: LayerStory }
  /** Only containerd can bring it. */
  | { readonly kind: "pull"; readonly story: LayerStory };

/** Owners inside a user namespace: lines of `container:host:length`, as in the labels `containerd.io/snapshot/{u,g}idmapping`. */
export interface IdMapping {
  readonly uids: string;
  readonly gids: string;
}

/**
 * Lazy layers of this node, as far as the snapshot contract needs them. Numbers of layers are never used again.
 */
export interface NodeLayers extends AsyncDisposable {
  /** Makes a layer mountable. Never rejects for what is wrong with image, index or registry: that is an outcome. Rejects when aborted. */
  prepareLayer(request: LayerRequest, options?: IoOptions): Promise<LayerOutcome>;
  /**
   * Mounts layers where they are not, and keeps them mounted at least until {@link NodeLayers.retain} is next told otherwise.
   * @returns their directories, in the order given: good as overlayfs lower directories.
   * @throws AppError `unavailable` if one can't be mounted.
   */
  mountLayers(layers: readonly number[], options?: IoOptions): Promise<readonly string[]>;
  /** Says which layers active snapshots and views need; others are unmounted after some idle time. */
  retain(layers: ReadonlySet<number>): void;
  /** Forgets layers that no snapshot has any more: unmounts, and deletes what is kept of them. Those that are still in use elsewhere wait. */
  removeLayers(layers: readonly number[]): Promise<void>;
  /** Disk space that a layer takes here now. Constant time. */
  layerUsage(layer: number): Promise<Usage>;
}

/** Makes and removes id-mapped copies of lower directories. */
export interface IdMappedMounts {
  /**
   * Shows `source` at `target` (made if absent) with owners shifted by `mapping`.
   * @throws AppError `unimplemented` if the kernel or file system can't.
   */
  mount(source: string, target: string, mapping: IdMapping): Promise<void>;
  /** Takes one away, busy or not; nothing happens if there is none. */
  unmount(target: string): Promise<void>;
}
