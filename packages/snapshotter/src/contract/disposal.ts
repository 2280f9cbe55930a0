import { AppError, type Logger } from "@soci-ts/core";
import type { SnapshotDirectories } from "./directories.ts";
import type { MappedLowers } from "./mapped-lowers.ts";
import type { Metastore } from "./metastore.ts";
import type { TreeWorkers } from "./tree-workers.ts";

/** What disposing needs. */
export interface DisposalParts {
  readonly directories: SnapshotDirectories;
  readonly metastore: Metastore;
  readonly mapped: MappedLowers;
  readonly workers: TreeWorkers;
  readonly logger: Logger;
}

/**
 * Takes away the directories of snapshots that are gone. Out of the way at once, deleted in the background: containerd holds a lock while it removes. What can't be taken away
 * now is found by the next {@link Disposal.collect}.
 */
export class Disposal {
  readonly #parts: DisposalParts;
  readonly #making = new Set<number>();
  /** By path. */
  readonly #deleting = new Map<string, Promise<void>>();

  constructor(parts: DisposalParts) {
    this.#parts = parts;
  }

  /** Keeps a directory that has no row yet from being collected while `work` makes both; takes it away if that fails. */
  async guard<T>(id: number, work: () => Promise<T>): Promise<T> {
    this.#making.add(id);
    try {
      return await work();
    } catch (error) {
      await this.dispose(id);
      throw error;
    } finally {
      this.#making.delete(id);
    }
  }

  /** Takes away a snapshot's directory. Never rejects. */
  async dispose(id: number): Promise<void> {
    const { directories, mapped, logger } = this.#parts;
    try {
      await mapped.hide(directories.mapped(id));
      this.#delete(await directories.setAside(id));
    } catch (error) {
      const { message } = AppError.from(error);
      logger.warn("snapshot directory not removed", { snapshot: id, error: message });
    }
  }

  /** Takes away all directories that no snapshot has. Resolves when they and those that were being deleted are gone. */
  async collect(): Promise<void> {
    await this.setOrphansAside();
    await this.settled();
  }

  /** Resolves when what is being deleted now is gone. */
  async settled(): Promise<void> {
    await Promise.all(this.#deleting.values());
  }

  /** The quick half of {@link Disposal.collect}: the rest goes on in the background. */
  async setOrphansAside(): Promise<void> {
    const { directories, metastore } = this.#parts;
    const { ids, aside } = await directories.find();
    for (const path of aside) this.#delete(path);
    for (const id of ids) {
      if (!this.#making.has(id) && !metastore.hasId(id)) await this.dispose(id);
    }
  }

  #delete(path: string): void {
    if (this.#deleting.has(path)) return;
    const deletion = this.#parts.workers.remove(path).catch((error: unknown) => {
      const { message } = AppError.from(error);
      this.#parts.logger.warn("snapshot directory not deleted", { path, error: message });
    });
    this.#deleting.set(path, deletion);
    void deletion.then(() => this.#deleting.delete(path));
  }
}
