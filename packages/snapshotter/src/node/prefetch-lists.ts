import { join } from "node:path";
import { AppError, delay, type Logger } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { Descriptor } from "@soci-ts/oci";
import { fetchPrefetchLists } from "@soci-ts/soci";
import { writePrefetchFile } from "../prefetch-file.ts";
import type { ImageIndex, LookUpOptions } from "./image-index.ts";

/** For so long layers that are ready otherwise wait for lists: all layers of an image together. */
const PATIENCE_MS = 500;

/** Where a layer's directory has its list. */
export function prefetchPath(directory: string): string {
  return join(directory, "prefetch");
}

/** The prefetch lists of an image's layers on their way: the image worker fetches them beside the ztocs, and leaves them in the layers' directories. */
export class PrefetchLists {
  readonly #lists: readonly Promise<readonly SpanRange[] | undefined>[];
  readonly #logger: Logger;
  #patience: Promise<undefined> | undefined;

  /** Begins to fetch them. */
  constructor(layers: readonly Descriptor[], { found }: ImageIndex, options: LookUpOptions) {
    const { registry, repository } = options.reference;
    this.#logger = options.logger;
    this.#lists = fetchPrefetchLists({
      ...options,
      layers,
      entries: found?.index.prefetchLists ?? [],
      repository: { registry, repository },
      timeoutMs: options.lookupTimeoutMs,
    });
  }

  /**
   * Leaves a layer's list in its directory. Never rejects.
   * @param position - of the layer in the image.
   * @param spanCount - of the layer.
   */
  async write(position: number, directory: string, spanCount: number): Promise<void> {
    this.#patience ??= delay(PATIENCE_MS).then(() => undefined);
    const ranges = (await Promise.race([this.#lists[position], this.#patience])) ?? [];
    try {
      await writePrefetchFile(prefetchPath(directory), ranges, { spanCount });
    } catch (error) {
      this.#logger.warn("prefetch list not written", { error: AppError.from(error).message });
    }
  }
}
