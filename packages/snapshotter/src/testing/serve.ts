import { writeSync } from "node:fs";
import type { LogFields, Logger } from "@soci-ts/core";
import { ociLayoutImageSource } from "@soci-ts/soci";
import { serveMount } from "../serve-mount.ts";

/* The serving process of the e2e tests: blobs come from the OCI layout that the record's source names. Options: --debug, --break. */

const line =
  (level: string) =>
  (text: string, fields?: LogFields): void => {
    writeSync(2, `${level} ${text} ${JSON.stringify(fields ?? {})}\n`);
  };

const logger: Logger = {
  debug: process.argv.includes("--debug") ? line("debug") : () => {},
  info: line("info"),
  warn: line("warn"),
  error: line("error"),
  child: () => logger,
};

await serveMount({
  directory: process.argv.at(-1) ?? "",
  openBlobs: async (source) => {
    if (process.argv.includes("--break")) throw new Error("told to fail");
    return ociLayoutImageSource(String(source));
  },
  logger,
});
