import type { GarbagePolicy } from "@soci-ts/registry-server";
import type { Config } from "./config.ts";

/** The rules of `[gc]`, in which 0 stands for ever. */
export function gcPolicy({ gc }: Config): GarbagePolicy {
  return {
    graceMs: gc.graceMs,
    untaggedKeepMs: gc.untaggedKeepMs || undefined,
    orphanKeepMs: gc.orphanKeepMs || undefined,
  };
}
