import { once } from "node:events";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { AppError } from "@soci-ts/core/errors";
import { CommanderError } from "commander";
import { type GlobalFlags, loadConfig, processSurroundings } from "./config.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { errorDocument, renderError, renderReport } from "./output.ts";
import { type Action, buildProgram } from "./program.ts";

/**
 * Runs one command line and gives the exit code. The result goes to stdout, all else to stderr.
 * @param args - the arguments after the program's name.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<number> {
  let exitCode = 0;
  const program = buildProgram(packageVersion(), async (action, flags) => {
    exitCode = await runAction(action, { ...program.opts<GlobalFlags>(), ...flags }, signal);
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) return await fail(error, args.includes("--json"));
    if (error.exitCode === 0) return 0;
    if (error.code === "commander.help") return EXIT_CODES.invalid_argument.exitCode;
    return await fail(usageError(error), args.includes("--json"));
  }
}

async function runAction(
  action: Action,
  flags: GlobalFlags,
  interrupted: AbortSignal,
): Promise<number> {
  const config = loadConfig(flags, processSurroundings());
  const { timeoutMs } = config;
  const signal =
    timeoutMs === undefined
      ? interrupted
      : AbortSignal.any([interrupted, AbortSignal.timeout(timeoutMs)]);
  const { openSession } = await import("./wire.ts");
  await using session = openSession(config, signal);
  try {
    const report = await action(session);
    session.progress.close();
    if (report === undefined) return 0;
    await write(process.stdout, renderReport(report, config.json));
    const errors = config.json ? [] : (report.errors ?? []);
    for (const error of errors) await write(process.stderr, renderError(error));
    return report.failed === undefined ? 0 : EXIT_CODES[report.failed].exitCode;
  } catch (error) {
    session.progress.close();
    session.logger.debug("command failed", { error: inspect(error, { depth: 6 }) });
    // What broke because of the interrupt is of no interest, only that there was one.
    return await fail(signal.aborted ? signal.reason : error, config.json);
  }
}

async function fail(thrown: unknown, json: boolean): Promise<number> {
  const error = AppError.from(thrown);
  if (json) await write(process.stdout, `${JSON.stringify(errorDocument(error), null, 2)}\n`);
  else await write(process.stderr, renderError(error));
  return EXIT_CODES[error.code].exitCode;
}

function usageError(error: CommanderError): AppError {
  return new AppError("invalid_argument", error.message.replace(/^error: /, ""), { cause: error });
}

async function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, "drain");
}

function packageVersion(): string {
  const path = new URL("../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(path, "utf8")) as { version: string };
  return version;
}
