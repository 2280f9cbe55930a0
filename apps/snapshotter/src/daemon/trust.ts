import type { RepositoryName } from "@soci-ts/oci";
import { matchTrust } from "@soci-ts/soci";
import type { Config } from "../config.ts";

/** The policy for a repository in words; equal text means equal policy. */
export function trustText({ trust }: Config, repository: RepositoryName): string {
  const policy = matchTrust(trust, repository);
  if (policy.kind === "any") return "any index that refers to the image";
  if (policy.kind === "bound") return "only the index that the image's own manifest names";
  return `only these indexes: ${policy.digests.join(", ")}`;
}
