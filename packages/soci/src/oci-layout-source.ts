import { join, resolve as resolvePath } from "node:path";
import { AppError } from "@soci-ts/core";
import type { ImageTree } from "./image-tree.ts";
import { layoutBlob, readBounded } from "./layout-files.ts";
import { layoutImageSource } from "./layout-source.ts";

/** Where an OCI layout lies and which of its images is meant. */
export interface OciLayoutName {
  readonly directory: string;
  /** The `org.opencontainers.image.ref.name` of an entry in `index.json`; without it the layout must hold one image. */
  readonly tag?: string;
}

/**
 * Splits `oci:DIR[:TAG]`. What follows the last colon is a tag if it can be one and holds no slash; a directory whose
 * name has a colon is written with a slash at its end. `undefined` if `text` does not start with `oci:`.
 * @throws AppError `invalid_argument` if the directory is empty.
 */
export function parseOciLayoutName(text: string): OciLayoutName | undefined {
  const match = /^oci:(.*?)(?::([A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}))?$/s.exec(text);
  if (match === null) return undefined;
  const [, directory, tag] = match;
  if (directory === undefined || directory === "") {
    throw new AppError(
      "invalid_argument",
      `Cannot parse ${JSON.stringify(text)}: the directory is empty, want oci:DIR or oci:DIR:TAG`,
    );
  }
  return tag === undefined ? { directory } : { directory, tag };
}

/**
 * An image in an OCI layout directory (image-spec v1.1.1, image-layout.md). Files are named by digests, opened only if
 * they are regular files and not links, and what is read whole is verified.
 */
export function ociLayoutImageSource(directory: string, tag?: string): ImageTree {
  const root = resolvePath(directory);
  const reference = tag === undefined ? `oci:${root}` : `oci:${root}:${tag}`;
  return layoutImageSource(
    {
      name: root,
      form: "oci:DIR:TAG",
      read: (name, options) => readBounded(join(root, name), options),
      openBlob: (descriptor) => layoutBlob(root, descriptor),
    },
    { reference, tag },
  );
}
