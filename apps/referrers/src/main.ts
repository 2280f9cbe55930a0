import process from "node:process";
import { AppError } from "@soci-ts/core";
import { processSurroundings } from "./config.ts";
import { run } from "./run.ts";

const abort = new AbortController();
const interrupt = () => abort.abort(new AppError("cancelled", "Interrupted"));
// The same signal once more ends the process at once, as is the default.
process.once("SIGTERM", interrupt);
process.once("SIGINT", interrupt);

process.exitCode = await run(process.argv.slice(2), processSurroundings(), abort.signal);
