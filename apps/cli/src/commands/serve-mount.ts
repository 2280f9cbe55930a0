import { AppError } from "@soci-ts/core";
import {
  type BlobOpener,
  type JsonValue,
  type ServerCommand,
  serveMount,
} from "@soci-ts/snapshotter";
import { PROGRAM } from "../program-file.ts";
import type { Session } from "../wire.ts";

/** This program again, with the options that say how to reach the registry; the mount's directory comes last. */
export function serverCommand({ config }: Session): ServerCommand {
  const options = [
    ...["--root", config.root, "--log-level", config.logLevel === "debug" ? "debug" : "info"],
    ...(config.plainHttp === true ? ["--plain-http"] : []),
    ...(config.caFile === undefined ? [] : ["--ca-file", config.caFile]),
  ];
  return {
    argv: [process.execPath, PROGRAM, ...options, "serve-mount", "--state"],
    environment: config.environment,
  };
}

/** `soci serve-mount`: the process behind a mount. Never returns: see `serveMount`, which has its own way with signals. */
export async function serve(session: Session, directory: string): Promise<never> {
  process.removeAllListeners("SIGINT");
  process.removeAllListeners("SIGTERM");
  return serveMount({
    directory,
    logger: session.logger,
    openBlobs: (source) => openBlobs(session, source),
  });
}

/** The image that the record names. `null` stands for a trial mount, which reads no blob. */
async function openBlobs(session: Session, source: JsonValue): Promise<BlobOpener> {
  const image =
    typeof source === "object" && source !== null && "image" in source
      ? source["image"]
      : undefined;
  if (typeof image === "string") return session.source(image);
  return {
    openBlob: ({ digest }) => {
      throw new AppError(
        "data_loss",
        `Cannot open blob ${digest}: the mount's record names no image`,
      );
    },
  };
}
