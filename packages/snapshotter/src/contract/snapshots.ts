import { AppError, type IoOptions, type Logger } from "@soci-ts/core";
import type { Database } from "@soci-ts/sqlite";
import { type Owner, SnapshotDirectories } from "./directories.ts";
import { Disposal } from "./disposal.ts";
import { parseFilters } from "./filter.ts";
import { type MappedOwners, mappedOwnersOf } from "./id-mapping.ts";
import { imageLayerOf } from "./image-labels.ts";
import { ImageLayers } from "./image-layers.ts";
import { LayerKeeper } from "./layer-keeper.ts";
import { SnapshotLists } from "./list.ts";
import { MappedLowers } from "./mapped-lowers.ts";
import { Metastore } from "./metastore.ts";
import { untilPast } from "./moment.ts";
import { OpenCalls } from "./open-calls.ts";
import { type OverlayFeatures, probeOverlay } from "./overlay-features.ts";
import { infoOf, type SnapshotRecord } from "./records.ts";
import { type Lower, lowersOf, snapshotMounts } from "./snapshot-mounts.ts";
import { TreeWorkers } from "./tree-workers.ts";
import type {
  IdMappedMounts,
  Labels,
  LayerStory,
  Mount,
  NodeLayers,
  PrepareOutcome,
  SnapshotInfo,
  SnapshotKind,
  SnapshotService,
  UpdateMask,
  Usage,
} from "./types.ts";

/** What the snapshots of a node are kept in and made of. All of it stays the caller's, who closes it after the service. */
export interface SnapshotsOptions {
  /** Holds `metadata.db` and `snapshots/`; made (mode 0700) if absent. Short: 128 lower directories have to fit into one page of mount options. */
  readonly root: string;
  /** Of `openMetastore(root)`. */
  readonly database: Database;
  readonly layers: NodeLayers;
  readonly idMapped: IdMappedMounts;
  /** Mount with `userxattr`: in a user namespace. Renaming a directory of a lower layer then fails. */
  readonly userxattr: boolean;
  /** Mount with `xino=on`: where lazy layers are EROFS mounts, whose inode numbers leave room for it. */
  readonly xino: boolean;
  readonly logger: Logger;
}

/** A snapshot that is being made. */
interface Draft {
  readonly kind: "active" | "view";
  readonly key: string;
  readonly parent: string;
  readonly labels: Labels;
  readonly story?: LayerStory;
}

/** What the calls of {@link Snapshots} work with. */
interface Parts extends SnapshotsOptions {
  readonly metastore: Metastore;
  readonly directories: SnapshotDirectories;
  readonly features: OverlayFeatures;
  readonly mapped: MappedLowers;
  readonly workers: TreeWorkers;
  readonly disposal: Disposal;
  readonly keeper: LayerKeeper;
  readonly imageLayers: ImageLayers;
  readonly lists: SnapshotLists;
}

/**
 * Opens the snapshots below `root`: finds out what overlayfs takes here, takes away what a crash left, tells `layers` what is needed.
 * @throws AppError `failed_precondition` if overlayfs does not work on this file system.
 */
export async function openSnapshots(options: SnapshotsOptions): Promise<Snapshots> {
  const { root, database, layers, logger } = options;
  const metastore = new Metastore(database);
  const directories = await SnapshotDirectories.open(root);
  const features = await probeOverlay(`${root}/probe`, {
    userXattr: options.userxattr,
    xino: options.xino,
  });
  const mapped = new MappedLowers(options.idMapped);
  const workers = new TreeWorkers();
  const disposal = new Disposal({ directories, metastore, mapped, workers, logger });
  const keeper = new LayerKeeper({ layers, metastore, logger });
  const imageLayers = new ImageLayers({ metastore, keeper, logger });
  const lists = new SnapshotLists(root, logger);
  metastore.skipIds((await directories.find()).lastId);
  await disposal.setOrphansAside();
  keeper.retain();
  const kept = { metastore, directories, features, mapped, workers, disposal };
  return new Snapshots({ ...options, ...kept, keeper, imageLayers, lists });
}

/** The snapshot contract over a metastore, directories, and lazy layers. Made by {@link openSnapshots}. */
export class Snapshots implements SnapshotService {
  readonly #parts: Parts;
  readonly #calls = new OpenCalls();

  /** @internal */
  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async prepare(
    key: string,
    parent: string,
    labels: Labels,
    options?: IoOptions,
  ): Promise<PrepareOutcome> {
    return await this.#calls.run(async (signal) => {
      requireName(key, "key");
      const target = imageLayerOf(labels);
      if (target === undefined) {
        const mounts = await this.#create({ kind: "active", key, parent, labels }, signal);
        return { kind: "mounts", mounts };
      }
      const request = { key, parent, labels, target };
      const outcome = await this.#parts.imageLayers.prepare(request, signal);
      if (outcome.kind === "already-committed") return outcome;
      const { story } = outcome;
      const mounts = await this.#create({ kind: "active", key, parent, labels, story }, signal);
      return { kind: "mounts", mounts };
    }, options);
  }

  async view(
    key: string,
    parent: string,
    labels: Labels,
    options?: IoOptions,
  ): Promise<readonly Mount[]> {
    return await this.#calls.run(async (signal) => {
      requireName(key, "key");
      return await this.#create({ kind: "view", key, parent, labels }, signal);
    }, options);
  }

  async mounts(key: string, options?: IoOptions): Promise<readonly Mount[]> {
    return await this.#calls.run(async (signal) => {
      const { metastore } = this.#parts;
      const record = metastore.require(key, "mount");
      const below = metastore.chain(record).slice(0, -1);
      return await this.#withLowers(lowersOf(below), signal, (lowers) =>
        this.#mountsOf(record, lowers),
      );
    }, options);
  }

  async commit(name: string, key: string, labels: Labels): Promise<void> {
    await this.#calls.run(async () => {
      requireName(name, "name");
      const { metastore, directories, workers, keeper, mapped, logger } = this.#parts;
      const { id } = metastore.checkCommit(key, name);
      const usage = await workers.usageFromNow(directories.content(id));
      const record = metastore.commit(key, name, { labels, usage });
      keeper.retain();
      await mapped.hide(directories.mapped(id)).catch((error: unknown) => {
        // They go with the snapshot at the latest.
        logger.warn("id-mapped mounts not removed", { snapshot: id, error: String(error) });
      });
      await untilPast(record.updatedAt.getTime());
    });
  }

  async remove(key: string): Promise<void> {
    await this.#calls.run(async () => {
      const { metastore, disposal, keeper } = this.#parts;
      const { id, layer } = metastore.remove(key);
      keeper.retain();
      if (layer === undefined) await disposal.dispose(id);
      else keeper.release(layer);
    });
  }

  async stat(key: string): Promise<SnapshotInfo> {
    return await this.#calls.run(async () => infoOf(this.#parts.metastore.require(key, "look")));
  }

  async update(
    { name, labels }: Pick<SnapshotInfo, "name" | "labels">,
    mask: UpdateMask,
  ): Promise<SnapshotInfo> {
    return await this.#calls.run(async () => {
      const record = this.#parts.metastore.update(name, labels, mask);
      await untilPast(record.updatedAt.getTime());
      return infoOf(record);
    });
  }

  async *list(filters: readonly string[]): AsyncGenerator<SnapshotInfo> {
    this.#calls.requireOpen();
    yield* this.#parts.lists.list(parseFilters(filters));
  }

  async usage(key: string, options?: IoOptions): Promise<Usage> {
    return await this.#calls.run(async (signal) => {
      const { metastore, layers, workers, directories } = this.#parts;
      const record = metastore.require(key, "look");
      if (record.layer !== undefined) return await layers.layerUsage(record.layer);
      if (record.kind !== "active") return record.usage;
      const usage = await workers.usage(directories.content(record.id), signal);
      // It may have gone, or been committed, while it was measured.
      return metastore.require(key, "look").id === record.id ? usage : await this.usage(key);
    }, options);
  }

  async cleanup(): Promise<void> {
    await this.#calls.run(async () => {
      await this.#parts.disposal.collect();
      await this.#parts.keeper.settled();
    });
  }

  /**
   * A snapshot and all below it, bottom first, with what is remembered of their layers.
   * @throws AppError `not_found`.
   */
  chain(name: string): readonly SnapshotRecord[] {
    const { metastore } = this.#parts;
    return metastore.chain(metastore.require(name, "look"));
  }

  /** Snapshots that were asked for under an image's name, oldest first. */
  findByImage(imageReference: string): readonly SnapshotRecord[] {
    return this.#parts.metastore.findByImage(imageReference);
  }

  /** Snapshots that came of a Prepare for an image layer, oldest first. */
  imageLayers(): readonly SnapshotRecord[] {
    return this.#parts.metastore.imageLayers();
  }

  /** How many snapshots there are of each kind. */
  countByKind(): Readonly<Record<SnapshotKind, number>> {
    return this.#parts.metastore.countByKind();
  }

  /** Keys of active snapshots and views, by the lazy layers that they stand on. */
  users(): ReadonlyMap<number, readonly string[]> {
    const users = new Map<number, string[]>();
    for (const record of this.#parts.metastore.open()) {
      for (const { layer } of this.#parts.metastore.chain(record)) {
        if (layer === undefined) continue;
        users.set(layer, [...(users.get(layer) ?? []), record.name]);
      }
    }
    return users;
  }

  /** The lazy layers that snapshots are; no others are of use. */
  layersInUse(): ReadonlySet<number> {
    return this.#parts.metastore.layers();
  }

  /** Aborts what is being done and waits for its end. Idempotent; other calls are then refused with `failed_precondition`. */
  async close(): Promise<void> {
    await this.#calls.close();
    await this.#parts.disposal.settled();
    await this.#parts.keeper.settled();
    await this.#parts.workers[Symbol.asyncDispose]();
    this.#parts.lists[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #create(draft: Draft, signal: AbortSignal): Promise<readonly Mount[]> {
    const { metastore, directories, disposal } = this.#parts;
    const { kind, key: name, parent, labels, story } = draft;
    const owners = mappedOwnersOf(labels);
    const below = metastore.checkNew({ name, kind, parent, labels });
    const id = metastore.takeId();
    const lowers = lowersOf(metastore.chain(below));
    return await this.#withLowers(lowers, signal, (paths) =>
      disposal.guard(id, async () => {
        await directories.make(id, kind, await this.#ownerOf(below, owners));
        const mounts = await this.#mountsOf({ id, kind, labels }, paths);
        signal.throwIfAborted();
        const record = metastore.insert({ id, name, kind, parent, labels, story });
        await untilPast(record.updatedAt.getTime());
        return mounts;
      }),
    );
  }

  /** As containerd's overlayfs snapshotter does. A lazy parent's root is not looked at: that would mean to look into our own mount. */
  async #ownerOf(
    below: SnapshotRecord | undefined,
    owners: MappedOwners | undefined,
  ): Promise<Owner> {
    if (owners !== undefined) return owners.root;
    if (below === undefined || below.layer !== undefined) return { uid: 0, gid: 0 };
    return await this.#parts.directories.owner(below.id);
  }

  /** Runs `work` with the directories of what lies below, lazy layers mounted. */
  async #withLowers<T>(
    lowers: readonly Lower[],
    signal: AbortSignal,
    work: (paths: readonly string[]) => Promise<T>,
  ): Promise<T> {
    const { keeper, directories } = this.#parts;
    const layers = lowers.flatMap((lower) => (lower.kind === "layer" ? lower.layer : []));
    return await keeper.withMounted(
      layers,
      async (mounted) => {
        const pathOf = (lower: Lower): string => {
          if (lower.kind === "directory") return directories.content(lower.id);
          return mounted.get(lower.layer) ?? unmounted(lower.layer);
        };
        return await work(lowers.map(pathOf));
      },
      { signal },
    );
  }

  async #mountsOf(
    { id, kind, labels }: Pick<SnapshotRecord, "id" | "kind" | "labels">,
    sources: readonly string[],
  ): Promise<readonly Mount[]> {
    const { directories, mapped, features } = this.#parts;
    const owners = mappedOwnersOf(labels);
    const lowers =
      owners === undefined
        ? sources
        : await mapped.show(directories.mapped(id), sources, owners.mapping);
    const [content, work] = [directories.content(id), directories.work(id)];
    return snapshotMounts({ kind, content, work, lowers }, features);
  }
}

function unmounted(layer: number): never {
  throw new AppError("internal", `Cannot name the directory of lazy layer ${layer}: it has none`);
}

function requireName(name: string, what: "key" | "name"): void {
  if (name !== "") return;
  const message = `Cannot make a snapshot: its ${what} is empty, want some text`;
  throw new AppError("invalid_argument", message);
}
