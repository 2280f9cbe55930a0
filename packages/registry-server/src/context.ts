import type { Logger } from "@soci-ts/core";
import type { BlobFiles } from "./blob-files.ts";
import type { BlobTable } from "./catalogue/blobs.ts";
import type { GarbageTable } from "./catalogue/garbage.ts";
import type { Listings } from "./catalogue/listings.ts";
import type { ManifestTable } from "./catalogue/manifests.ts";
import type { UsageTable } from "./catalogue/usage.ts";
import type { RegistryRequest } from "./http.ts";
import type { Reserve } from "./reserve.ts";
import type { Uploads } from "./uploads.ts";

/** What the handlers work on. */
export interface Context {
  readonly blobs: BlobTable;
  readonly manifests: ManifestTable;
  readonly listings: Listings;
  readonly garbage: GarbageTable;
  readonly usage: UsageTable;
  readonly files: BlobFiles;
  readonly uploads: Uploads;
  readonly reserve: Reserve;
  readonly logger: Logger;
  /** True if nothing may be written: pushes and deletes are refused. */
  readonly isReadOnly: boolean;
  /** True if manifests are taken that refer to what is not in the repository. */
  readonly allowsSparse: boolean;
  /** Most bytes of a manifest. */
  readonly manifestLimitBytes: number;
  /** Most descriptors in one answer of the referrers API. */
  readonly referrersPerPage: number;
}

/** One request on its way through a handler. */
export interface Call {
  readonly context: Context;
  readonly request: RegistryRequest;
  readonly query: URLSearchParams;
}
