import type { Config } from "../config.ts";

/** The policy for a repository in words; equal text means equal policy. */
export function trustText(config: Config, repository: string): string {
  const rule = config.trust.find(({ repositories }) =>
    repositories.some((pattern) => matches(pattern, repository)),
  );
  if (rule === undefined || rule.require === "any") return "any";
  return rule.require === "bound" ? "bound" : `listed: ${rule.digests.join(" ")}`;
}

function matches(pattern: string, repository: string): boolean {
  const escaped = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`).test(repository);
}
