/**
 * What `soci-snapshotter status` and `explain` show, as the daemon gives it over its control socket. Plain JSON: times are ISO 8601 in UTC,
 * sizes bytes. No field holds a secret: no header, no credential, no query of a URL.
 */
export interface StatusDocument {
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly root: string;
  readonly address: string;
  /** The way in which layers are given to the kernel, and why this one. */
  readonly door: { readonly kind: string; readonly why: string };
  /** What the kernel can do, by name: `release`, `erofs from files`, `FUSE resend` and so on. */
  readonly kernel: readonly Fact[];
  /** The daemon's processes: keeper, FUSE server, helpers. */
  readonly processes: readonly ProcessStatus[];
  readonly images: readonly ImageStatus[];
  /** Layers that are mounted, or failed to be. */
  readonly mounts: readonly MountStatus[];
  readonly cache: CacheStatus;
  /** Steps back, by kind, since the start. */
  readonly fallbacks: readonly { readonly kind: string; readonly count: number }[];
  /** The latest ones first. */
  readonly errors: readonly ErrorEntry[];
}

/** A name and what is to be said of it. */
export interface Fact {
  readonly name: string;
  readonly value: string;
}

/** A process that belongs to the daemon. */
export interface ProcessStatus {
  readonly name: string;
  readonly pid: number;
  readonly residentBytes: number;
  /** How often it was started again. */
  readonly restarts: number;
}

/** A mount of a layer. */
export interface MountStatus {
  /** The layer's number on this node. */
  readonly layer: number;
  readonly directory: string;
  /** True if the kernel reads the layer's file with no FUSE in the way. A layer that became whole may have two mounts. */
  readonly isLocal: boolean;
  /** `idle`: no container needs it, it goes after a while. */
  readonly state: "in use" | "idle" | "failed";
  /** Snapshots whose mounts name it. */
  readonly users: number;
}

/** What is kept on this node. */
export interface CacheStatus {
  readonly layers: number;
  readonly sizeBytes: number;
  /** Free space of its file system. */
  readonly freeBytes: number;
  /** What it may take; 0: there is no quota. */
  readonly quotaBytes: number;
  /** Free space below which it gives way. */
  readonly minFreeBytes: number;
  /** When bytes were last evicted, and how many; absent: none since the layer server started. */
  readonly lastEviction?: { readonly time: string; readonly sizeBytes: number } | undefined;
}

/** Something that went wrong. */
export interface ErrorEntry {
  readonly time: string;
  /** An error code of core. */
  readonly code: string;
  readonly message: string;
  /** What it was about: an image, a layer, a registry. */
  readonly about?: string | undefined;
  /** How often in a row; 1 if it is absent. */
  readonly times?: number | undefined;
}

/** An image, with its layers from the bottom up. */
export interface ImageStatus {
  readonly imageReference: string;
  readonly manifestDigest: string;
  readonly layers: readonly LayerStatus[];
}

/** How a layer is there: by an index, read whole by the node (done, or still under way), or unpacked by containerd. */
export type LayerState = "lazy" | "streaming" | "streamed" | "pulled";

/** What came of a layer until now. */
export interface LayerStatus {
  readonly layerDigest: string;
  /** The layer's number on this node; absent if containerd unpacked it. */
  readonly layer?: number | undefined;
  readonly state: LayerState;
  /** Length of its blob; absent if unknown. */
  readonly sizeBytes?: number | undefined;
  /** Uncompressed bytes that are here, of so many. */
  readonly presentBytes: number;
  readonly uncompressedBytes?: number | undefined;
  /** Bytes that came over the network for it, and in how many requests, since the start of the daemon. */
  readonly fetchedBytes: number;
  readonly requests: number;
}

/** An index that was there to choose from. */
export interface IndexChoice {
  readonly digest: string;
  /** Where it was found: `local`, `referrers`, `tag`, `annotation`. */
  readonly origin: string;
  readonly taken: boolean;
  readonly why: string;
}

/** All that is known of an image, or of a snapshot and those below it. */
export interface ExplainDocument {
  /** What was asked for. */
  readonly subject: string;
  readonly kind: "image" | "snapshot";
  /** True if there are no snapshots of it: its pull failed or goes on, or the image is gone. What is said is what the daemon remembers. */
  readonly isGone: boolean;
  readonly imageReference: string;
  readonly manifestDigest: string;
  /** What the trust policy demands of this repository. */
  readonly trust: string;
  /** The indexes that were found, also those that were refused. Empty if none was. */
  readonly considered: readonly IndexChoice[];
  /** From the bottom up. */
  readonly layers: readonly ExplainLayer[];
}

/** One thing that was tried for a layer: a `LayerStep` of the snapshotter. */
export interface StepTaken {
  readonly tried: "index" | "stream" | "pull";
  readonly worked: boolean;
  readonly why: string;
}

/** A layer's story and its state. */
export interface ExplainLayer extends LayerStatus {
  /** Its snapshot's name, where there is one. */
  readonly snapshot?: string | undefined;
  /** The index that it is read by, and where that was found. */
  readonly indexDigest?: string | undefined;
  readonly indexOrigin?: string | undefined;
  /** What was tried for it, in order. */
  readonly steps: readonly StepTaken[];
  readonly mounted: boolean;
  /** Registry hosts that answered for it, without scheme and path. */
  readonly hosts: readonly string[];
  /** What failed since, the latest first. */
  readonly failures: readonly ErrorEntry[];
  /** When reads or a lookup are tried again, if something waits for that. */
  readonly retryAt?: string | undefined;
}

/** What `gc` has freed, by kind. */
export interface GarbageDocument {
  /** Layers that no snapshot needs. */
  readonly layers: FreedFiles;
  /** Caches and metadata images of no layer. */
  readonly orphans: FreedFiles;
  /** Files that a killed process had not finished. */
  readonly temporaries: FreedFiles;
  /** Records of what layers were once made for. */
  readonly records: number;
  /** Cached bytes that can be fetched again: of so many layers as a whole, and chunks of others. Absent if the layer server did not answer. */
  readonly evicted?:
    | { readonly layers: number; readonly chunks: number; readonly sizeBytes: number }
    | undefined;
  /** What was left undone, and why. */
  readonly notes: readonly string[];
}

/** How many, and how many bytes of disk they took. */
export interface FreedFiles {
  readonly count: number;
  readonly sizeBytes: number;
}

/** What the running daemon answers on its control socket. Errors are AppErrors; `unavailable` if no daemon runs. */
export interface ControlClient extends AsyncDisposable {
  status(): Promise<StatusDocument>;
  /** @throws AppError `not_found` if neither an image nor a snapshot has that name. */
  explain(subject: string): Promise<ExplainDocument>;
  /** Frees disk space; `all`: also cached bytes within the limits that nobody has read lately. */
  gc(options: { readonly all: boolean }): Promise<GarbageDocument>;
  /** Ends everything cleanly: mounts, processes, the daemon. Resolves with what is still in use and was left. */
  drain(): Promise<{ readonly left: readonly string[] }>;
}
