import {
  AppError,
  type Digest,
  digestAlgorithm,
  digestHex,
  type IoOptions,
  type Logger,
  type Metrics,
} from "@soci-ts/core";
import { hashWhole } from "./hash-whole.ts";
import type { LayerCache } from "./layer-cache.ts";
import {
  dataIdentity,
  isSameData,
  readWholeVerdict,
  type WholeVerdict,
  writeWholeVerdict,
} from "./whole-verdict.ts";

/** What {@link judgeWhole} works on. */
export interface JudgeOptions extends IoOptions {
  readonly cache: LayerCache;
  readonly diffId: Digest;
  /** Fetches what follows the tar; `undefined` if that is too much. Asked for only if zeros do not give the diffID. */
  readonly tail: () => Promise<Uint8Array | undefined>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Compares a layer's bytes with the diffID of the image's config, if all of them are there and that has not been done before, and writes
 * down what came of it. Chunks that turn out to be damaged become absent, and the verdict stays `unknown`.
 * @throws what reading the cache throws, and the blob, whose bytes behind the tar may be wanted; the signal's reason.
 */
export async function judgeWhole(options: JudgeOptions): Promise<WholeVerdict> {
  const { cache, diffId, tail, signal } = options;
  const known = await readWholeVerdict(cache.directory, diffId);
  if (known.verdict !== "unknown") return known.verdict;
  const contents = cache.contents();
  const data = await dataIdentity(cache.directory);
  if (contents === undefined || data === undefined) return "unknown";
  const algorithm = digestAlgorithm(diffId);
  const wanted = digestHex(diffId);
  const task = { path: known.dataPath, ...contents, algorithm, wanted };
  let answer = await hashWhole(task, { signal });
  if (answer.kind === "hash" && answer.hash !== wanted) {
    answer = await hashWhole({ ...task, tail: await tail() }, { signal });
  }
  if (answer.kind === "corrupt") {
    await cache.markCorrupt(answer.chunks);
    return "unknown";
  }
  // Written meanwhile: by whom, and whether before or behind the place that was being hashed, nobody knows.
  const now = await dataIdentity(cache.directory);
  if (now === undefined || !isSameData(data, now)) return "unknown";
  const verdict = answer.hash === wanted ? "right" : "wrong";
  if (verdict === "wrong") report(options, `${algorithm}:${answer.hash}`);
  await keep(options, { diffId, verdict, data });
  return verdict;
}

function report({ diffId, logger, metrics }: JudgeOptions, actual: string): void {
  metrics.count("soci_layer_wrong_diff_ids_total");
  logger.error("layer is not what the image's config says, its reads fail from now on", {
    diffId,
    actual,
  });
}

/** A disk that takes no more makes it be found out again later, no more. */
async function keep(
  { cache, logger }: JudgeOptions,
  found: Parameters<typeof writeWholeVerdict>[1],
): Promise<void> {
  try {
    await writeWholeVerdict(cache.directory, found);
  } catch (error) {
    logger.warn("verdict on a layer not kept", { error: AppError.from(error).message });
  }
}
