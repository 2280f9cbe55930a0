import { AppError, type Logger, type Metrics } from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import {
  type Credential,
  type CredentialSource,
  certsDirHosts,
  chainCredentials,
  commandCredentials,
  loadCredentials,
  type NamedSource,
  RegistryClient,
} from "@soci-ts/registry-client";
import type { OpenBlobs } from "@soci-ts/snapshotter";
import { callLocal } from "@soci-ts/snapshotter/local-call";
import { nodePaths } from "@soci-ts/snapshotter/paths";
import { registryImageSource } from "@soci-ts/soci";
import type { Config } from "../config.ts";

/** The client by which every process of the daemon reaches registries. The caller closes it. */
export function openRegistryClient(
  config: Config,
  logger: Logger,
  metrics?: Metrics,
): RegistryClient {
  const { hostsDirectory } = config.registry;
  const directories = hostsDirectory === "" ? [] : [hostsDirectory];
  return new RegistryClient({
    credentials: chainCredentials(credentialSources(config), logger),
    hosts: certsDirHosts({ directories, logger }),
    certsDir: "/etc/docker/certs.d",
    proxy: config.proxy,
    systemCaFiles: config.systemCaFiles,
    logger,
    metrics,
  });
}

/** Kubelet's come first: they are the newest, and meant for the image. */
function credentialSources(config: Config): readonly NamedSource[] {
  const { command, dockerConfigFiles } = config.credentials;
  const sources: NamedSource[] = [];
  if (config.criProxy.address !== "")
    sources.push({ name: "kubelet", source: daemonSource(config) });
  const [program, ...args] = command;
  if (program !== undefined) {
    const { environment } = config;
    const source = commandCredentials({ argv: [program, ...args], environment });
    sources.push({ name: "command", source });
  }
  sources.push({ name: "files", source: loadCredentials({ files: dockerConfigFiles }) });
  return sources;
}

/** A daemon that is just started anew knows none; who asks then must not wait for it. */
const DAEMON_TIMEOUT_MS = 2000;

/** Credentials that passed through the daemon's CRI proxy. Only the daemon has them, in memory. */
function daemonSource({ root }: Config): CredentialSource {
  const { controlSocket } = nodePaths(root);
  return {
    async find(registry, repository, options) {
      const params = { registry, repository: repository ?? null, refused: options?.refused ?? [] };
      const signal = AbortSignal.timeout(DAEMON_TIMEOUT_MS);
      const found = await callLocal(controlSocket, "credential", params, { signal });
      return (found as Credential | null) ?? undefined;
    },
  };
}

/** Opens the blobs of the image that a layer's record names. */
export function blobsFrom(client: RegistryClient): OpenBlobs {
  return async (source) => {
    const image =
      typeof source === "object" && source !== null && "image" in source
        ? source["image"]
        : undefined;
    if (typeof image === "string") return registryImageSource(client, parseReference(image));
    throw new AppError("data_loss", "Cannot open a layer's blob: its record names no image");
  };
}
