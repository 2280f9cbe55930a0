import type { ByteString } from "@soci-ts/core";
import type { ErofsDirectory } from "@soci-ts/erofs";
import { resolvePath } from "./paths.ts";
import type { LowerView } from "./types.ts";
import type { WorkBudget } from "./work-budget.ts";

/** The directory that a path leads to in the layers below, all symbolic links followed; undefined if it leads to none. */
export function findLowerDirectory(
  lower: LowerView,
  path: readonly ByteString[],
  budget: WorkBudget,
): ErofsDirectory | undefined {
  const lookup = (at: readonly ByteString[]): ReturnType<LowerView["lookup"]> => {
    budget.spendSteps(at.length);
    return lower.lookup(at);
  };
  const direct = lookup(path)?.node;
  if (direct?.kind === "dir") return direct;
  const resolved = resolvePath(lookup([])?.node, path, {
    followLast: true,
    step: (parent, at, name) => (parent?.kind === "dir" ? lookup([...at, name])?.node : undefined),
    spend: () => budget.spendSteps(1),
  });
  return resolved?.node?.kind === "dir" ? resolved.node : undefined;
}
