import { once } from "node:events";
import process from "node:process";
import { AppError } from "@soci-ts/core";
import { parseConfig } from "./config.ts";
import { startService } from "./wire.ts";

const config = parseConfig(process.argv.slice(2));
try {
  await using service = await startService(config);
  process.stdout.write(`listening on ${service.url}\n`);
  await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  // The same signal once more ends the process at once, as is the default.
} catch (error) {
  process.stderr.write(`soci-referrers: ${AppError.from(error).message}\n`);
  process.exitCode = 1;
}
