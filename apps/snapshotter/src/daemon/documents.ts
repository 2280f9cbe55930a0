import { statfs } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import { probeKernel } from "@soci-ts/linux";
import { parseReference } from "@soci-ts/oci";
import type { LayerStory, SlotStats, SnapshotRecord } from "@soci-ts/snapshotter";
import type {
  CacheStatus,
  ErrorEntry,
  ExplainDocument,
  ExplainLayer,
  Fact,
  ImageStatus,
  LayerState,
  LayerStatus,
  MountStatus,
  ProcessStatus,
  StatusDocument,
} from "../documents.ts";
import type { Daemon } from "./daemon.ts";
import { trustText } from "./trust.ts";

/** A snapshot that came of a pull through this daemon, or the memory of a layer that has none. */
type LayerRecord = Partial<Pick<SnapshotRecord, "name" | "layer">> & { readonly story: LayerStory };

type StatsByLayer = ReadonlyMap<number, SlotStats>;

/** What `soci-snapshotter status` shows. */
export async function statusDocument(daemon: Daemon): Promise<StatusDocument> {
  const { config, door, layers, snapshots, errors } = daemon;
  const records = snapshots.imageLayers().filter(isLayer);
  const stats = await layers.layerStats([...snapshots.layersInUse()]);
  return {
    version: daemon.version,
    pid: process.pid,
    startedAt: daemon.startedAt.toISOString(),
    uptimeMs: Date.now() - daemon.startedAt.getTime(),
    root: config.root,
    address: config.address,
    door: { kind: door.door, why: door.reason },
    kernel: kernelFacts(),
    processes: await processes(daemon),
    images: imagesOf(records, stats),
    mounts: mountsOf(daemon),
    cache: await cacheStatus(daemon, stats),
    fallbacks: daemon.fallbacks(),
    errors: [...readErrorsOf(records, stats), ...errors.list()].sort(byTime),
  };
}

/** What `soci-snapshotter explain` shows. @throws AppError `not_found`. */
export async function explainDocument(daemon: Daemon, subject: string): Promise<ExplainDocument> {
  const { config, layers } = daemon;
  const { kind, isGone, records } = recordsOf(daemon, subject);
  const story = records.at(-1)?.story;
  if (story === undefined) {
    const state =
      "no image layer was asked for under this name, want the name that it was pulled by, that of an image with the same layers that was there before it, or a snapshot's key";
    throw new AppError("not_found", `Cannot explain ${JSON.stringify(subject)}: ${state}`);
  }
  const numbers = records.flatMap(({ layer }) => layer ?? []);
  const stats = await layers.layerStats(numbers);
  const mounted = new Set(layers.mounted);
  const { imageReference, manifestDigest } = story;
  return {
    subject,
    kind,
    isGone,
    imageReference,
    manifestDigest,
    trust: trustText(config, parseReference(imageReference)),
    considered: (story.considered ?? []).flatMap(({ digest, ...rest }) =>
      digest === undefined ? [] : [{ digest, ...rest }],
    ),
    layers: records.map((record): ExplainLayer => {
      const own = record.layer === undefined ? undefined : stats.get(record.layer);
      const { layerDigest, indexDigest, indexOrigin, steps } = record.story;
      return {
        ...layerStatus(record, own),
        snapshot: record.name,
        indexDigest,
        indexOrigin,
        steps,
        mounted: record.layer !== undefined && mounted.has(record.layer),
        hosts: [hostOf(imageReference)],
        failures: failuresOf(daemon, layerDigest, own),
      };
    }),
  };
}

/** By image, by snapshot, or by what is remembered of an image. */
function recordsOf(
  daemon: Daemon,
  subject: string,
): Pick<ExplainDocument, "kind" | "isGone"> & { readonly records: readonly LayerRecord[] } {
  const byImage = daemon.snapshots.findByImage(subject).filter(isLayer);
  if (byImage.length > 0) return { kind: "image", isGone: false, records: latestOf(byImage) };
  const chain = chainOf(daemon, subject);
  if (chain.length > 0) return { kind: "snapshot", isGone: false, records: chain };
  const records = daemon.stories.about(subject).map((story) => ({ story }));
  return { kind: "image", isGone: true, records };
}

/** The steps of a layer's story tell already why it was left to containerd. */
function failuresOf(
  { errors }: Daemon,
  layerDigest: string,
  stats: SlotStats | undefined,
): ExplainLayer["failures"] {
  const logged = errors
    .about(layerDigest)
    .filter(({ message }) => !message.startsWith("layer left to containerd"));
  const lastError = stats?.lastError;
  return lastError === undefined ? logged : [readError(lastError), ...logged];
}

function readError({
  code = "unknown",
  message,
  atMs,
}: NonNullable<SlotStats["lastError"]>): ErrorEntry {
  return { time: new Date(atMs).toISOString(), code, message };
}

/** What the layer server could not read, which is not in the daemon's own log. */
function readErrorsOf(records: readonly LayerRecord[], stats: StatsByLayer): readonly ErrorEntry[] {
  const errors = new Map<number, ErrorEntry>();
  for (const { layer, story } of records) {
    const lastError = layer === undefined ? undefined : stats.get(layer)?.lastError;
    if (layer === undefined || lastError === undefined) continue;
    errors.set(layer, { ...readError(lastError), about: story.layerDigest });
  }
  return [...errors.values()];
}

/** The latest first. */
function byTime(one: ErrorEntry, other: ErrorEntry): number {
  return other.time.localeCompare(one.time);
}

/** The layers of the newest pull: an image's name may have moved. */
function latestOf(records: readonly LayerRecord[]): readonly LayerRecord[] {
  const newest = records.at(-1)?.story.manifestDigest;
  const seen = new Set<string>();
  return records.filter(({ story }) => {
    const isNew = story.manifestDigest === newest && !seen.has(story.layerDigest);
    seen.add(story.layerDigest);
    return isNew;
  });
}

function chainOf({ snapshots }: Daemon, key: string): readonly LayerRecord[] {
  try {
    return snapshots.chain(key).filter(isLayer);
  } catch (error) {
    if (AppError.from(error).code === "not_found") return [];
    throw error;
  }
}

function isLayer(record: SnapshotRecord): record is SnapshotRecord & LayerRecord {
  return record.story !== undefined;
}

function imagesOf(records: readonly LayerRecord[], stats: StatsByLayer): readonly ImageStatus[] {
  const images = new Map<string, LayerRecord[]>();
  for (const record of records) {
    const key = `${record.story.imageReference} ${record.story.manifestDigest}`;
    images.set(key, [...(images.get(key) ?? []), record]);
  }
  return [...images.values()].map((all) => {
    const chain = latestOf(all);
    const { imageReference = "", manifestDigest = "" } = chain[0]?.story ?? {};
    const layers = chain.map((record) =>
      layerStatus(record, record.layer === undefined ? undefined : stats.get(record.layer)),
    );
    return { imageReference, manifestDigest, layers };
  });
}

function layerStatus({ layer, story }: LayerRecord, stats: SlotStats | undefined): LayerStatus {
  const { layerDigest, sizeBytes } = story;
  const isStreamed = story.steps.some(({ tried, worked }) => tried === "stream" && worked);
  const lazyState: LayerState = isStreamed ? "streamed" : "lazy";
  const isPulled = story.steps.some(({ tried }) => tried === "pull");
  return {
    layerDigest,
    layer,
    state: isPulled ? "pulled" : lazyState,
    sizeBytes,
    presentBytes: stats?.cachedBytes ?? 0,
    uncompressedBytes: stats?.sizeBytes || undefined,
    // One that was streamed came whole, before there was anybody to count.
    fetchedBytes: (stats?.bytesFetched ?? 0) + (isStreamed ? (sizeBytes ?? 0) : 0),
    requests: (stats?.requests ?? 0) + (isStreamed ? 1 : 0),
  };
}

function kernelFacts(): readonly Fact[] {
  const { release, ...findings } = probeKernel();
  const facts = Object.entries(findings).map(([name, { state, found }]) => ({
    name,
    value: state === "ok" ? found : `${found} (${state})`,
  }));
  return [{ name: "release", value: release }, ...facts];
}

async function processes({ layers }: Daemon): Promise<readonly ProcessStatus[]> {
  const own = { name: "daemon", pid: process.pid, residentBytes: process.memoryUsage.rss() };
  const server = await layers.serverStats();
  const list = [{ ...own, restarts: 0 }];
  if (server !== undefined) {
    const { pid, rssBytes: residentBytes, restarts } = server;
    list.push({ name: "serve-layers", pid, residentBytes, restarts });
  }
  return list;
}

function mountsOf({ layers, snapshots }: Daemon): readonly MountStatus[] {
  const usersOf = snapshots.users();
  return layers.mountPoints.map(({ layer, directory, isLocal }) => {
    const users = usersOf.get(layer)?.length ?? 0;
    return { layer, directory, isLocal, state: users > 0 ? "in use" : "idle", users };
  });
}

async function cacheStatus(daemon: Daemon, stats: StatsByLayer): Promise<CacheStatus> {
  const { bavail, bsize } = await statfs(daemon.config.root);
  const lastEviction = (await daemon.layers.serverStats())?.lastEviction ?? undefined;
  const usages = await Promise.all([...stats.keys()].map((it) => daemon.layers.layerUsage(it)));
  return {
    layers: stats.size,
    sizeBytes: usages.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    freeBytes: bavail * bsize,
    ...daemon.config.cache,
    lastEviction: lastEviction && {
      time: new Date(lastEviction.atMs).toISOString(),
      sizeBytes: lastEviction.sizeBytes,
    },
  };
}

function hostOf(imageReference: string): string {
  return parseReference(imageReference).registry;
}
