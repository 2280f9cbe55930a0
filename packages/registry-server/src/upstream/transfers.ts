import type { Digest, Logger } from "@soci-ts/core";
import type { ByteRange } from "../range.ts";
import type { Cache } from "./cache.ts";
import { MAX_TRANSFERS } from "./limits.ts";
import { RightOfWay } from "./right-of-way.ts";
import { Transfer } from "./transfer.ts";
import type { OpenBlob } from "./transfer-answers.ts";

/** A transfer, and who began it. */
export interface SharedTransfer {
  readonly transfer: Transfer;
  /** Of clients with the same key the upstream thinks the same. */
  readonly key: string;
}

/** The blobs that are on their way into the cache: each of them once. */
export class Transfers implements AsyncDisposable {
  readonly #cache: Cache;
  readonly #logger: Logger;
  readonly #rightOfWay = new RightOfWay();
  readonly #running = new Map<Digest, SharedTransfer>();

  constructor(cache: Cache, logger: Logger) {
    this.#cache = cache;
    this.#logger = logger;
  }

  /** The transfer of a blob that is under way. */
  find(digest: Digest): SharedTransfer | undefined {
    return this.#running.get(digest);
  }

  /** Starts a transfer, so that others find it at once; undefined if there are too many. */
  begin(
    digest: Digest,
    key: string,
    wanted: { readonly open: OpenBlob; readonly first: ByteRange | undefined },
  ): SharedTransfer | undefined {
    if (this.#running.size >= MAX_TRANSFERS) return undefined;
    const shares = { cache: this.#cache, logger: this.#logger, rightOfWay: this.#rightOfWay };
    const deps = { digest, ...shares, ...wanted };
    const transfer = new Transfer(deps, () => this.#running.delete(digest));
    const shared = { transfer, key };
    this.#running.set(digest, shared);
    return shared;
  }

  /** Gives all of them up. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ transfer }) => transfer.stop()));
  }
}
