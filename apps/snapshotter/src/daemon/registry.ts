import { AppError, type Logger, type Metrics, silentMetrics } from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import { loadCredentials, RegistryClient } from "@soci-ts/registry-client";
import type { OpenBlobs } from "@soci-ts/snapshotter";
import { registryImageSource } from "@soci-ts/soci";
import type { Config } from "../config.ts";

/** The client by which every process of the daemon reaches registries. The caller closes it. */
export function openRegistryClient(
  config: Config,
  logger: Logger,
  metrics: Metrics = silentMetrics,
): RegistryClient {
  return new RegistryClient({
    credentials: loadCredentials({ files: config.credentials.dockerConfigFiles }),
    certsDir: "/etc/docker/certs.d",
    proxy: config.proxy,
    systemCaFiles: config.systemCaFiles,
    logger,
    metrics,
  });
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
