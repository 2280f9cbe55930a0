import type { Digest } from "@soci-ts/core";
import type { Store } from "@soci-ts/store";
import { MAX_ZTOC_BYTES } from "./limits.ts";

/** A blob of the store to be sent. It is read whole before any of it is sent, so that a damaged file is noticed here and not by the registry. */
export function storedBlob(store: Store, digest: Digest): () => AsyncGenerator<Uint8Array> {
  return async function* read() {
    yield await store.readBlob(digest, { maxBytes: MAX_ZTOC_BYTES });
  };
}
