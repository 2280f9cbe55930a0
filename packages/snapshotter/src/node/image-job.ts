import type { Digest, ErrorCode } from "@soci-ts/core";
import type { LayerStory } from "../contract/types.ts";
import type { SlotData } from "../mount-record.ts";

/** What an image worker is to make ready: one platform's manifest. */
export interface ImageJob {
  /** As containerd names the image. */
  readonly imageReference: string;
  readonly manifestDigest: Digest;
  /** A directory of its own, where it leaves what layers are opened by. */
  readonly directory: string;
}

/** A layer that can be given a number. */
export interface WorkedLayer {
  /** Equal for layers that show the same files by the same index. */
  readonly identity: string;
  readonly layerDigest: Digest;
  /** Paths are relative to {@link WorkedLayer.directory}. */
  readonly data: SlotData;
  /** Holds its files, and nothing else. */
  readonly directory: string;
  readonly imagePath: string;
  /** Chain positions of its metadata image's devices. */
  readonly devices: readonly number[];
}

/** What a worker found out about a layer. */
export interface LayerReport {
  /** 0 is the bottom. */
  readonly position: number;
  readonly chainId: string;
  readonly story: LayerStory;
  /** Absent if only containerd can bring the layer. */
  readonly layer?: WorkedLayer | undefined;
}

/** What a worker writes, one JSON line each. After `failed` it ends. */
export type WorkerMessage =
  | { readonly kind: "layer"; readonly report: LayerReport }
  /** What it has counted since it said so last. */
  | { readonly kind: "counts"; readonly counts: Readonly<Record<string, number>> }
  /** All is said of the image; with the resident memory of the worker, which waits for another one. */
  | { readonly kind: "end"; readonly residentBytes: number }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };
