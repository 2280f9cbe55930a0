import { randomUUID } from "node:crypto";
import { AppError } from "@soci-ts/core";
import { plainText, type Report, shortDigest, wrap } from "../output.ts";
import { type ImageChain, readImageChain } from "./image-chain.ts";
import type { ImageRecord, RepairContainerd, RepairNamespace } from "./repair-containerd.ts";

/** Longest label that containerd takes, key and value together, in bytes. */
const MAX_LABEL_BYTES = 4096;
const LABEL = "containerd.io/snapshot/cri.";

/** What is to be repaired, and how. */
export interface RepairRequest {
  /** The image's name in containerd. */
  readonly image: string;
  /** What containerd calls this snapshotter. */
  readonly snapshotter: string;
  /** True: only tell what is missing. */
  readonly isDryRun: boolean;
  readonly signal: AbortSignal;
}

/** What came of an image in one namespace. */
export interface RepairResult {
  readonly namespace: string;
  /**
   * `whole`: nothing was missing. `foreign`: it was never unpacked with this snapshotter. `repaired`: all is there again. `missing`: only
   * looked. `pull`: not all of it can be had lazily, a pull brings the rest. `blocked`: snapshots that nobody knows stand on what is lost.
   */
  readonly state: "whole" | "foreign" | "repaired" | "missing" | "pull" | "blocked";
  /** ChainIDs that were missing, bottom first. */
  readonly missing: readonly string[];
  /** Containers whose own snapshot is lost: they have to be made anew. */
  readonly lostContainers: readonly string[];
  readonly detail: string;
}

/** What came of an image everywhere. */
export interface RepairOutcome {
  readonly image: string;
  readonly results: readonly RepairResult[];
}

/**
 * Brings an image back whose snapshots are gone, in every namespace that has it. containerd still has records of them, which hinder a pull:
 * these are removed, those above first, and each layer is prepared anew with the labels of a pull. Nothing that exists is touched.
 * @throws AppError `not_found` if no namespace has the image; what containerd answers if it can't be asked.
 */
export async function repairImage(
  containerd: RepairContainerd,
  request: RepairRequest,
): Promise<RepairOutcome> {
  const results: RepairResult[] = [];
  for (const name of await containerd.namespaces()) {
    request.signal.throwIfAborted();
    await using namespace = await containerd.openNamespace(name);
    const images = await namespace.images();
    const image = images.find((record) => record.name === request.image);
    if (image === undefined) continue;
    results.push({ namespace: name, ...(await repairIn(namespace, image, images, request)) });
  }
  if (results.length > 0) return { image: request.image, results };
  throw new AppError(
    "not_found",
    `Cannot repair "${request.image}": no namespace has an image of that name`,
  );
}

/** The outcome for people and programs; a failure unless the image is whole wherever it belongs to this snapshotter. */
export function repairReport(outcome: RepairOutcome): Report {
  const lines = outcome.results.flatMap(({ namespace, state, missing, lostContainers, detail }) => [
    `Namespace ${plainText(namespace)}: ${state}`,
    ...missing.map((chainId) => `  - missing: ${shortDigest(chainId)}`),
    ...lostContainers.map((id) =>
      wrap(
        `container ${plainText(id)} lost its own files: delete it and make it anew`,
        "  - ",
        "    ",
      ),
    ),
    wrap(plainText(detail), "  "),
  ]);
  const isWell = outcome.results.every(({ state }) =>
    ["whole", "foreign", "repaired"].includes(state),
  );
  return {
    json: outcome,
    text: [`Image ${plainText(outcome.image)}`, ...lines].join("\n"),
    failed: isWell ? undefined : "failed_precondition",
  };
}

type Result = Omit<RepairResult, "namespace">;

async function repairIn(
  namespace: RepairNamespace,
  image: ImageRecord,
  images: readonly ImageRecord[],
  request: RepairRequest,
): Promise<Result> {
  const chain = await readImageChain(namespace, image);
  const labels = await namespace.blobLabels(chain.configDigest);
  if (labels?.[`containerd.io/gc.ref.snapshot.${request.snapshotter}`] === undefined) {
    return result(
      "foreign",
      [],
      [],
      `it was not unpacked with ${request.snapshotter} here: nothing to repair`,
    );
  }
  const lost = await lostContainers(namespace, request.snapshotter);
  const ids = lost.map(({ id }) => id);
  const missing = await missingOf(namespace, chain);
  if (missing.length === 0) return result("whole", [], ids, "all its snapshots are there");
  if (request.isDryRun)
    return result("missing", missing, ids, "run it without --dry-run to bring them back");
  const keys = lost.map(({ snapshotKey }) => snapshotKey);
  const blocked = await removeStale(namespace, missing, [
    ...keys,
    ...(await missingOfOthers(namespace, image, images)),
  ]);
  if (blocked.length > 0) {
    return result(
      "blocked",
      missing,
      ids,
      `snapshots that no image and no container names stand on ${blocked.map(shortDigest).join(", ")}: remove those first (ctr snapshots rm)`,
    );
  }
  return await prepareAnew(namespace, image, chain, missing, ids);
}

async function prepareAnew(
  namespace: RepairNamespace,
  image: ImageRecord,
  chain: ImageChain,
  missing: readonly string[],
  lostIds: readonly string[],
): Promise<Result> {
  for (const [at, { chainId }] of chain.layers.entries()) {
    if (!missing.includes(chainId)) continue;
    const key = `repair-${randomUUID()} ${chainId}`;
    const parent = chain.layers[at - 1]?.chainId ?? "";
    const outcome = await namespace.prepareSnapshot(key, parent, labelsFor(image, chain, at));
    if (outcome === "already_exists" && (await namespace.hasSnapshot(chainId))) continue;
    if (outcome === "mounts") await namespace.removeSnapshot(key);
    return result(
      "pull",
      missing,
      lostIds,
      `layer ${at + 1} of ${chain.layers.length} can't be had lazily (soci-snapshotter explain ${image.name} says why); the stale records are gone, so that a pull of the image brings the rest`,
    );
  }
  return result(
    "repaired",
    missing,
    lostIds,
    `${missing.length} of ${chain.layers.length} snapshots were made again`,
  );
}

/** The labels that a pull hangs on the Prepare of a layer. */
function labelsFor(image: ImageRecord, chain: ImageChain, at: number): Record<string, string> {
  const layer = chain.layers[at];
  const above = chain.layers.slice(at).map(({ layerDigest }) => layerDigest);
  while (`${LABEL}image-layers${above.join(",")}`.length > MAX_LABEL_BYTES) above.pop();
  return {
    "containerd.io/snapshot.ref": layer?.chainId ?? "",
    [`${LABEL}image-ref`]: image.name,
    [`${LABEL}manifest-digest`]: chain.manifestDigest,
    [`${LABEL}layer-digest`]: layer?.layerDigest ?? "",
    [`${LABEL}image-layers`]: above.join(","),
  };
}

async function missingOf(namespace: RepairNamespace, chain: ImageChain): Promise<string[]> {
  const missing: string[] = [];
  for (const { chainId } of chain.layers) {
    // What stands on a lost snapshot is lost with it, whatever its own record says.
    if (missing.length > 0 || !(await namespace.hasSnapshot(chainId))) missing.push(chainId);
  }
  return missing;
}

/** Lost chainIDs of the other images: they may stand on ours, and are of no more use than those. */
async function missingOfOthers(
  namespace: RepairNamespace,
  image: ImageRecord,
  images: readonly ImageRecord[],
): Promise<string[]> {
  const found: string[] = [];
  for (const other of images) {
    if (other.digest === image.digest) continue;
    const chain = await chainIfThere(namespace, other);
    if (chain !== undefined) found.push(...(await missingOf(namespace, chain)));
  }
  return found;
}

async function chainIfThere(
  namespace: RepairNamespace,
  image: ImageRecord,
): Promise<ImageChain | undefined> {
  try {
    return await readImageChain(namespace, image);
  } catch (error) {
    // An image that is not wholly there, or is none of this platform, has no snapshots that we could name.
    if (["not_found", "data_loss", "unimplemented"].includes(AppError.from(error).code))
      return undefined;
    throw error;
  }
}

async function lostContainers(
  namespace: RepairNamespace,
  snapshotter: string,
): Promise<readonly { readonly id: string; readonly snapshotKey: string }[]> {
  const lost = [];
  for (const container of await namespace.containers()) {
    if (container.snapshotter !== snapshotter || container.snapshotKey === "") continue;
    if (!(await namespace.hasSnapshot(container.snapshotKey))) lost.push(container);
  }
  return lost;
}

/**
 * Removes records of snapshots that are lost, those above before those below, by trying again as long as something goes.
 * @returns those of `wanted` that could not be removed.
 */
async function removeStale(
  namespace: RepairNamespace,
  wanted: readonly string[],
  others: readonly string[],
): Promise<readonly string[]> {
  let rest: readonly string[] = [...new Set([...others, ...[...wanted].reverse()])];
  for (let before = -1; rest.length > 0 && before !== rest.length; ) {
    before = rest.length;
    const kept: string[] = [];
    for (const key of rest) if (!(await removed(namespace, key))) kept.push(key);
    rest = kept;
  }
  return wanted.filter((key) => rest.includes(key));
}

/** False if it has children. */
async function removed(namespace: RepairNamespace, key: string): Promise<boolean> {
  try {
    await namespace.removeSnapshot(key);
    return true;
  } catch (error) {
    const { code } = AppError.from(error);
    if (code === "not_found") return true;
    if (code === "failed_precondition") return false;
    throw error;
  }
}

function result(
  state: RepairResult["state"],
  missing: readonly string[],
  lost: readonly string[],
  detail: string,
): Result {
  return { state, missing, lostContainers: lost, detail };
}
