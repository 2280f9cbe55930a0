import type { IoOptions } from "@soci-ts/core";
import type { RepositoryName } from "@soci-ts/oci";
import type { DocumentReader, ImageSource, RootDocument } from "./image-source.ts";

/** An image with all that its name stands for, every platform and what stands beside them: what can be copied and converted. */
export interface ImageTree extends ImageSource, DocumentReader {
  /** Where its blobs are in a registry, so that they can be mounted from there. */
  readonly repository?: RepositoryName;
  /** The manifest or image index that the image's name stands for, verified. */
  readRoot(options?: IoOptions): Promise<RootDocument>;
}
