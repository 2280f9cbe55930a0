import type { Digest } from "@soci-ts/core";

/** What `repair` needs of containerd; every call is made with one snapshotter. */
export interface RepairContainerd extends AsyncDisposable {
  namespaces(): Promise<readonly string[]>;
  /**
   * One namespace. All that is made through it is held by a lease of its own until it is disposed of: containerd's garbage collector
   * would take lower snapshots that nothing refers to yet.
   */
  openNamespace(namespace: string): Promise<RepairNamespace>;
}

/** One namespace of containerd. Errors are AppErrors with the code of the gRPC status. */
export interface RepairNamespace extends AsyncDisposable {
  images(): Promise<readonly ImageRecord[]>;
  containers(): Promise<readonly ContainerRecord[]>;
  /** @throws AppError `not_found` if the content store does not have it. */
  readBlob(digest: Digest): Promise<Uint8Array>;
  /** Labels of a blob; `undefined` if the content store does not have it. */
  blobLabels(digest: Digest): Promise<Readonly<Record<string, string>> | undefined>;
  /** True if Stat knows it, false if it answers `not_found`; all else is thrown: a daemon that is down has lost nothing. */
  hasSnapshot(key: string): Promise<boolean>;
  /** Prepare. `already_exists` is an outcome, since it is how a lazy layer answers. */
  prepareSnapshot(
    key: string,
    parent: string,
    labels: Readonly<Record<string, string>>,
  ): Promise<"mounts" | "already_exists">;
  /** @throws AppError `not_found`, or `failed_precondition` if it has children. */
  removeSnapshot(key: string): Promise<void>;
}

/** An image of containerd's store. */
export interface ImageRecord {
  readonly name: string;
  readonly digest: Digest;
  readonly mediaType: string;
}

/** A container of containerd's store. */
export interface ContainerRecord {
  readonly id: string;
  readonly snapshotter: string;
  readonly snapshotKey: string;
}
