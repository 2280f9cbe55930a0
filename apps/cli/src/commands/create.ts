import { digestHex } from "@soci-ts/core";
import { type Descriptor, formatPlatform, type Platform } from "@soci-ts/oci";
import type { ImageTree, LayerOutcome, PrefetchLists, ReuseOptions } from "@soci-ts/soci";
import {
  type CreatedIndex,
  type CreatedLayer,
  createIndex,
  type LayerProgress,
} from "@soci-ts/soci/create";
import { formatBytes, type Report, renderFacts, renderTable } from "../output.ts";
import type { Progress, Task } from "../progress.ts";
import type { Session } from "../wire.ts";
import { type PlatformOptions, type PlatformReport, reportPlatforms } from "./platform-choice.ts";
import { notFoundFacts, type PrefetchOptions, readPrefetchFiles } from "./prefetch-files.ts";
import { registryReference } from "./registry-reference.ts";

/** Options of `soci create`. */
export interface CreateOptions extends PlatformOptions, PrefetchOptions {
  readonly spanSize: number;
  readonly minLayerSize: number;
  readonly jobs?: number;
  readonly reuse: "any" | "bound" | "none";
  readonly force?: boolean;
  readonly push?: boolean;
}

/** `soci create IMAGE`: indexes each platform asked for and keeps the indexes in the store; with `--push` also pushes them. */
export async function create(
  session: Session,
  name: string,
  options: CreateOptions,
): Promise<Report> {
  if (options.push === true) registryReference("push to", name);
  const prefetchFiles = await readPrefetchFiles(options);
  const source = await session.source(name);
  const store = session.store();
  store.catch(() => {}); // thrown where it is needed
  const reuse = await reuseOptions(session, source, options);
  const work = async (platform: Platform | undefined): Promise<PlatformReport> => {
    const created = await createIndex({
      source,
      store,
      platform,
      prefetchFiles,
      spanSizeBytes: options.spanSize,
      minLayerSizeBytes: options.minLayerSize,
      jobs: options.jobs,
      force: options.force,
      reuse,
      logger: session.logger,
      onProgress: layerProgress(session.progress),
      signal: session.signal,
    });
    if (options.push !== true) return report(created);
    const { pushImageIndex, pushJson, pushText } = await import("./push.ts");
    const { digest } = created.indexDescriptor;
    const pushed = await pushImageIndex(session, name, { platform, indexDigest: digest });
    const made = report(created);
    return {
      json: { ...createdJson(created), pushed: pushJson(pushed) },
      text: `${made.text}\n\n${pushText(pushed)}`,
    };
  };
  return reportPlatforms(session, { source, options, separator: "\n\n\n", work });
}

/** Indexes that others made are in registries only. */
async function reuseOptions(
  session: Session,
  { repository }: ImageTree,
  { reuse, force }: CreateOptions,
): Promise<ReuseOptions | undefined> {
  if (reuse === "none" || force === true || repository === undefined) return undefined;
  return { client: await session.client(), repository, policy: { kind: reuse } };
}

/** Turns what {@link createIndex} tells into bars or lines. */
export function layerProgress(progress: Progress): (event: LayerProgress) => void {
  const tasks = new Map<string, Task>();
  return ({ layer, compressedBytes, outcome }) => {
    const task = tasks.get(layer.digest) ?? progress.start(taskName(layer), layer.size);
    tasks.set(layer.digest, task);
    if (outcome === undefined) task.update(compressedBytes);
    else task.finish(outcomeText(outcome));
  };
}

function taskName(layer: Descriptor): string {
  return `layer ${digestHex(layer.digest).slice(0, 12)}`;
}

function outcomeText(outcome: LayerOutcome): string {
  if (outcome.kind === "skipped") return `skipped: ${outcome.reason}`;
  const how = outcome.kind === "found" ? "found in the registry" : outcome.kind;
  return `${how}, ztoc ${formatBytes(outcome.sizeBytes)}`;
}

function report(created: CreatedIndex): PlatformReport {
  const facts = renderFacts([
    ["index", created.indexDescriptor.digest],
    ["image", created.reference],
    ["manifest", created.manifestDigest],
    ["platform", formatPlatform(created.platform)],
    ...prefetchFacts(created.prefetchLists),
    ...notFoundFacts(created.filesNotFound),
  ]);
  const layers = renderTable(
    ["LAYER", "SIZE", "ZTOC", "SIZE"],
    created.layers.map((layer) => [
      layer.digest,
      formatBytes(layer.sizeBytes),
      layer.ztoc?.digest ?? `skipped: ${layer.skipped}`,
      layer.ztoc === undefined ? "" : formatBytes(layer.ztoc.size),
    ]),
  );
  return { json: createdJson(created), text: `${facts}\n\n${layers}` };
}

function createdJson(created: CreatedIndex): Record<string, unknown> {
  return {
    index: created.indexDescriptor.digest,
    sizeBytes: created.indexDescriptor.size,
    reference: created.reference,
    manifest: created.manifestDigest,
    platform: formatPlatform(created.platform),
    layers: created.layers.map(layerJson),
    ...prefetchJson(created),
  };
}

/** The prefetch lists that were made, for people. */
export function prefetchFacts(lists: CreatedIndex["prefetchLists"]): [string, string][] {
  return lists.map(({ digest, layerDigest }) => ["prefetch", `${digest}, of layer ${layerDigest}`]);
}

/** The prefetch lists that were made, for `--json`. */
export function prefetchJson(made: PrefetchLists): Record<string, unknown> {
  const { prefetchLists, filesNotFound } = made;
  const lists = prefetchLists.map(({ digest, layerDigest }) => ({ digest, layer: layerDigest }));
  return { prefetchLists: lists, prefetchFilesNotFound: filesNotFound };
}

/** What became of a layer, for `--json`. */
export function layerJson(layer: CreatedLayer): Record<string, unknown> {
  const { digest, diffId, sizeBytes, ztoc, reused, skipped } = layer;
  if (ztoc === undefined) return { digest, diffId, sizeBytes, skipped };
  return { digest, diffId, sizeBytes, ztoc: ztoc.digest, ztocSizeBytes: ztoc.size, reused };
}
