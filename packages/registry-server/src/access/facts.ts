import type { Digest } from "@soci-ts/core";
import type { Context } from "../context.ts";
import type { MountFacts } from "./mounts.ts";

/** What access control has to know of a registry's content. */
export interface RegistryFacts extends MountFacts {
  /** Bytes that a repository holds, those of its open uploads included. */
  usedBytes(repository: string): Promise<number>;
  /** A blob's size, whoever has it. */
  blobSize(digest: Digest): number | undefined;
}

/** The facts of the registry that these tables are of. */
export function registryFacts({ usage, uploads }: Context): RegistryFacts {
  return {
    usedBytes: async (repository) =>
      usage.usedBytes(repository) + (await uploads.openBytes(repository)),
    blobSize: (digest) => usage.blobSize(digest),
    holders: (digest, limit) => usage.holders(digest, limit),
  };
}
