import { AppError, type Digest } from "@soci-ts/core";
import { type Descriptor, type Manifest, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import type { SociIndex } from "./soci-index.ts";

/** An index that is known to be of the image. */
export interface IndexCandidate {
  readonly descriptor: Descriptor;
  readonly index: SociIndex;
  /** Bytes of the image's compressed layers that have a ztoc. */
  readonly coveredBytes: number;
  /** The largest span size that any of its ztocs is said to have. */
  readonly spanSizeBytes: number;
}

/**
 * Checks that an index is of the image: its subject is the manifest (v1), and at least one ztoc is of one of its layers.
 * @throws AppError `failed_precondition` if it is not.
 */
export function matchImage(
  read: { readonly digest: Digest; readonly sizeBytes: number; readonly index: SociIndex },
  image: { readonly manifestDescriptor: Descriptor; readonly manifest: Manifest },
): IndexCandidate {
  const { digest, index } = read;
  const subject = index.manifest.subject?.digest;
  const wanted = image.manifestDescriptor.digest;
  if (subject !== wanted && (index.version === 1 || subject !== undefined)) {
    throw new AppError(
      "failed_precondition",
      `Cannot use index ${digest}: its subject is ${subject ?? "missing"}, want ${wanted}`,
    );
  }
  const covered = new Set(index.ztocs.map((ztoc) => ztoc.layerDigest));
  const coveredLayers = image.manifest.layers.filter((layer) => covered.has(layer.digest));
  if (coveredLayers.length === 0) {
    throw new AppError(
      "failed_precondition",
      `Cannot use index ${digest}: it has no ztoc of a layer of manifest ${wanted}`,
    );
  }
  return {
    descriptor: {
      mediaType: index.manifest.mediaType ?? MEDIA_TYPE_OCI_MANIFEST,
      digest,
      size: read.sizeBytes,
    },
    index,
    coveredBytes: coveredLayers.reduce((sum, layer) => sum + layer.size, 0),
    spanSizeBytes: Math.max(...index.ztocs.map((ztoc) => ztoc.spanSizeBytes ?? 0)),
  };
}

/**
 * The one to use among several, by a rule that gives every node the same answer whatever order the registry lists them in:
 * the one whose ztocs cover the most layer bytes; then the smallest span size, since a read costs a span; then the lowest digest.
 * @returns the best with the reason, and each of the others with what it is behind in; `undefined` if there is none.
 */
export function chooseIndex(candidates: readonly IndexCandidate[]): IndexChoice | undefined {
  const [best, ...others] = [...candidates].sort(compareCandidates);
  if (best === undefined) return undefined;
  const reason =
    others.length === 0
      ? "the only one"
      : `the best of ${candidates.length} (most layer bytes covered, then smallest spans, then lowest digest)`;
  const passed = others.map((candidate) => ({ candidate, why: whyBehind(candidate, best) }));
  return { candidate: best, reason, others: passed };
}

/** What was chosen among several, and why not the others. */
export interface IndexChoice {
  readonly candidate: IndexCandidate;
  readonly reason: string;
  readonly others: readonly { readonly candidate: IndexCandidate; readonly why: string }[];
}

function compareCandidates(a: IndexCandidate, b: IndexCandidate): number {
  return (
    b.coveredBytes - a.coveredBytes ||
    a.spanSizeBytes - b.spanSizeBytes ||
    (a.descriptor.digest < b.descriptor.digest ? -1 : 1)
  );
}

function whyBehind(candidate: IndexCandidate, best: IndexCandidate): string {
  const { digest } = best.descriptor;
  if (candidate.coveredBytes !== best.coveredBytes) {
    return `covers ${candidate.coveredBytes} layer bytes, ${digest} ${best.coveredBytes}`;
  }
  if (candidate.spanSizeBytes !== best.spanSizeBytes) {
    return `has spans of ${candidate.spanSizeBytes} bytes, ${digest} of ${best.spanSizeBytes}`;
  }
  return `as good as ${digest}, whose digest is lower`;
}
