import { once } from "node:events";
import { readFileSync } from "node:fs";
import { AppError } from "@soci-ts/core";
import { CommanderError } from "commander";
import { type Config, type GlobalFlags, loadConfig, type Surroundings } from "./config.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { errorDocument, renderError, renderReport } from "./output.ts";
import { buildProgram } from "./program.ts";
import type { Action, Session } from "./session.ts";

/**
 * Runs one command line and gives the exit code. The result goes to stdout, all else to stderr.
 * @param args - the arguments after the program's name.
 */
export async function run(
  args: readonly string[],
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<number> {
  let exitCode = 0;
  const version = packageVersion();
  const program = buildProgram(version, async (action) => {
    const flags = program.opts<GlobalFlags>();
    exitCode = await runAction(action, openSession(flags, surroundings, version, signal));
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

function openSession(
  flags: GlobalFlags,
  surroundings: Surroundings,
  version: string,
  signal: AbortSignal,
): Session {
  let config: Config | undefined;
  return {
    flags,
    surroundings,
    signal,
    version,
    config: () => {
      config ??= loadConfig(flags, surroundings);
      return config;
    },
  };
}

async function runAction(action: Action, session: Session): Promise<number> {
  const json = session.flags.json === true;
  try {
    const report = await action(session);
    if (report === undefined) return 0;
    await write(process.stdout, renderReport(report, json));
    return report.failed === undefined ? 0 : EXIT_CODES[report.failed].exitCode;
  } catch (error) {
    // What broke because of the interrupt is of no interest, only that there was one.
    return await fail(session.signal.aborted ? session.signal.reason : error, json);
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
