import { AppError } from "@soci-ts/core";
import type {
  Labels,
  Mount,
  PrepareOutcome,
  SnapshotInfo,
  SnapshotKind,
  SnapshotService,
  UpdateMask,
  Usage,
} from "@soci-ts/snapshotter";

const TARGET_LABEL = "containerd.io/snapshot.ref";

/** Snapshots in memory, with no files: what the gRPC adapter is tested on. A Prepare with a target is committed at once. */
export class MemorySnapshots implements SnapshotService {
  readonly infos: Map<string, SnapshotInfo> = new Map<string, SnapshotInfo>();
  /** Calls in order: method and first arguments. */
  readonly calls: (readonly unknown[])[] = [];
  /** Source of the bind mount that every snapshot has. */
  readonly source: string;

  constructor(source = "/nowhere") {
    this.source = source;
  }

  async prepare(key: string, parent: string, labels: Labels): Promise<PrepareOutcome> {
    this.calls.push(["prepare", key, parent, labels]);
    const target = labels[TARGET_LABEL];
    if (target !== undefined) {
      const name = `${key}@${target}`;
      this.#add("committed", name, parent, labels);
      return { kind: "already-committed", name };
    }
    this.#add("active", key, parent, labels);
    return { kind: "mounts", mounts: this.#mounts("rw") };
  }

  async view(key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
    this.#add("view", key, parent, labels);
    return this.#mounts("ro");
  }

  async mounts(key: string): Promise<readonly Mount[]> {
    this.#get(key);
    return this.#mounts("rw");
  }

  async commit(name: string, key: string, labels: Labels): Promise<void> {
    const { parent } = this.#get(key);
    this.#add("committed", name, parent, labels);
    this.infos.delete(key);
  }

  async remove(key: string): Promise<void> {
    this.#get(key);
    const child = [...this.infos.values()].find(({ parent }) => parent === key);
    if (child !== undefined) {
      throw new AppError("failed_precondition", `cannot remove snapshot ${key}: it has a child`);
    }
    this.infos.delete(key);
  }

  async stat(key: string): Promise<SnapshotInfo> {
    return this.#get(key);
  }

  async update(
    { name, labels }: Pick<SnapshotInfo, "name" | "labels">,
    mask: UpdateMask,
  ): Promise<SnapshotInfo> {
    this.calls.push(["update", name, labels, mask]);
    const updated = { ...this.#get(name), labels };
    this.infos.set(name, updated);
    return updated;
  }

  async *list(filters: readonly string[]): AsyncIterable<SnapshotInfo> {
    this.calls.push(["list", filters]);
    yield* this.infos.values();
  }

  async usage(key: string): Promise<Usage> {
    this.#get(key);
    return { sizeBytes: 2 ** 40 + 1, inodes: 3 };
  }

  async cleanup(): Promise<void> {
    this.calls.push(["cleanup"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #get(key: string): SnapshotInfo {
    const info = this.infos.get(key);
    if (info === undefined) throw new AppError("not_found", `snapshot ${key} does not exist`);
    return info;
  }

  #add(kind: SnapshotKind, name: string, parent: string, labels: Labels): void {
    if (parent !== "") this.#get(parent);
    if (this.infos.has(name)) throw new AppError("already_exists", `snapshot ${name} exists`);
    const now = new Date();
    this.infos.set(name, { kind, name, parent, labels, createdAt: now, updatedAt: now });
  }

  #mounts(mode: "rw" | "ro"): readonly Mount[] {
    return [{ type: "bind", source: this.source, options: [mode, "rbind"] }];
  }
}
