import { join } from "node:path";
import { loadCredentials } from "@soci-ts/registry-client";
import type { CompanionOptions, UpstreamOptions } from "@soci-ts/registry-server";
import type { Settings } from "../config.ts";

/** The folder of the companion's cache below the root. */
export function cacheDirectory(root: string): string {
  return join(root, "upstream-cache");
}

/** What the companion is told of the configuration; undefined if there is no upstream. */
export function companionOptions(
  settings: Settings,
  deps: Pick<CompanionOptions, "logger" | "metrics">,
): CompanionOptions | undefined {
  const { upstreams, cache } = settings;
  if (upstreams.length === 0) return undefined;
  return { upstreams: upstreams.map(upstreamOptions), cacheBytes: cache.quotaBytes, ...deps };
}

/** Names that stand for another host. */
const API_HOSTS: ReadonlyMap<string, string> = new Map([["docker.io", "registry-1.docker.io"]]);

function upstreamOptions(upstream: Settings["upstreams"][number]): UpstreamOptions {
  const { name, url, login, dockerConfigFiles, trustedHosts, caFile } = upstream;
  return {
    name,
    url: new URL(url === "" ? `https://${API_HOSTS.get(name) ?? name}` : url),
    credentials: login === "client" ? undefined : loadCredentials({ files: dockerConfigFiles }),
    trustedHosts,
    caFile: caFile === "" ? undefined : caFile,
  };
}
