import { type Digest, Glob } from "@soci-ts/core";
import type { RepositoryName } from "@soci-ts/oci";

/**
 * Which index of an image may be used. `any`: whatever is found. `bound`: only the one that the image's own manifest names (SOCI v2),
 * so that whoever vouches for the image vouches for it. `listed`: only one of these digests, wherever it is found.
 */
export type TrustPolicy =
  | { readonly kind: "any" }
  | { readonly kind: "bound" }
  | { readonly kind: "listed"; readonly digests: readonly Digest[] };

/** What is wanted of the indexes of some repositories. */
export interface TrustRule {
  /**
   * Patterns of `registry/repository` as references spell it in full (`docker.io/library/python`). `*` stands for any characters, none
   * and slashes too, so `registry.example/team/*` is all below `team`, at any depth; everything else stands for itself.
   */
  readonly repositories: readonly string[];
  readonly require: TrustPolicy["kind"];
  /** For `listed`. */
  readonly digests?: readonly Digest[] | undefined;
}

/** The policy of the first rule with a pattern that fits; `any` if none does. */
export function matchTrust(rules: readonly TrustRule[], name: RepositoryName): TrustPolicy {
  const text = `${name.registry}/${name.repository}`;
  const rule = rules.find(({ repositories }) =>
    repositories.some((one) => new Glob(one).matches(text)),
  );
  if (rule === undefined) return { kind: "any" };
  const { require, digests = [] } = rule;
  return require === "listed" ? { kind: "listed", digests } : { kind: require };
}

/**
 * Why an index may not be used; undefined if it may.
 * @param boundDigest - what the image's manifest names, if it names one.
 */
export function refusalOf(
  policy: TrustPolicy,
  digest: Digest,
  boundDigest: string | undefined,
): string | undefined {
  if (policy.kind === "bound" && digest !== boundDigest) {
    return "refused: the policy wants the index that the image's manifest names";
  }
  if (policy.kind === "listed" && !policy.digests.includes(digest)) {
    return "refused: its digest is not among those that the policy lists";
  }
  return undefined;
}
