import { join, resolve as resolvePath } from "node:path";
import { AppError, type Digest, type IoOptions, verifyDigest } from "@soci-ts/core";
import {
  type Descriptor,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  parseManifest,
} from "@soci-ts/oci";
import type { ReadZtocOptions } from "./fetch-ztoc.ts";
import type { IndexReader } from "./find-index.ts";
import { readBounded } from "./layout-files.ts";
import { layoutBlobPath } from "./layout-source.ts";
import { MAX_LAYOUT_ENTRIES } from "./limits.ts";

/** What finding an index and reading its ztocs need of a registry client. */
export type IndexMedium = IndexReader & ReadZtocOptions["client"];

/**
 * Finds indexes in an OCI layout as a client finds them in a registry: a manifest's referrers are those that `index.json` lists. Where
 * repositories are named, they are of no account.
 */
export function layoutIndexReader(directory: string): IndexMedium {
  const root = resolvePath(directory);
  const readBlob = async (
    digest: Digest,
    options: Parameters<typeof readBounded>[1],
  ): Promise<Uint8Array> => {
    const path = join(root, layoutBlobPath(digest));
    const bytes = await readBounded(path, options);
    verifyDigest(`blob ${digest} of ${root}`, bytes, digest);
    return bytes;
  };
  const readManifest = (digest: Digest, options?: IoOptions): Promise<Uint8Array> =>
    readBlob(digest, { ...options, maxBytes: MANIFEST_LIMIT_BYTES });
  return {
    async fetchManifest({ digest }, options) {
      if (digest === undefined) {
        throw new AppError("invalid_argument", "Cannot read a manifest of a layout: want a digest");
      }
      const bytes = await readManifest(digest, options);
      return {
        bytes,
        descriptor: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest, size: bytes.length },
      };
    },
    async listReferrers(_repository, subject, options) {
      const found: Descriptor[] = [];
      for (const entry of await listManifests(root, options)) {
        const artifactType = await artifactTypeOf(entry, subject, (digest) =>
          readManifest(digest, options),
        );
        if (artifactType === undefined) continue;
        const isWanted = [undefined, artifactType].includes(options?.artifactType);
        if (isWanted) found.push({ ...entry, artifactType });
      }
      return found;
    },
    fetchBlob: (_repository, { digest }, options) => readBlob(digest, options),
  };
}

async function listManifests(root: string, options?: IoOptions): Promise<readonly Descriptor[]> {
  const bytes = await readBounded(join(root, "index.json"), {
    ...options,
    maxBytes: MANIFEST_LIMIT_BYTES,
  });
  const document = parseManifest(bytes, MEDIA_TYPE_OCI_INDEX);
  if (document.kind !== "index") return [];
  return document.index.manifests.slice(0, MAX_LAYOUT_ENTRIES);
}

/** The artifact type of the manifest that an entry names, if it refers to `subject`; undefined for all else, broken entries too. */
async function artifactTypeOf(
  entry: Descriptor,
  subject: Digest,
  read: (digest: Digest) => Promise<Uint8Array>,
): Promise<string | undefined> {
  if (entry.mediaType !== MEDIA_TYPE_OCI_MANIFEST) return undefined;
  try {
    const document = parseManifest(await read(entry.digest), entry.mediaType);
    if (document.kind !== "manifest" || document.manifest.subject?.digest !== subject)
      return undefined;
    return document.manifest.artifactType ?? document.manifest.config.mediaType;
  } catch (error) {
    // What is missing or broken is no referrer; whoever needs it will say so.
    if (["not_found", "data_loss"].includes(AppError.from(error).code)) return undefined;
    throw error;
  }
}
