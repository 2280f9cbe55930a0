import { once } from "node:events";
import { AppError } from "@soci-ts/core";
import { CommanderError } from "commander";
import { type Config, type GlobalFlags, loadConfig, type Surroundings } from "./config.ts";
import { packageVersion } from "./package-version.ts";
import { buildProgram } from "./program.ts";
import type { Action, Session } from "./session.ts";

const FAILED_EXIT_CODE = 1;
const FAULTY_ARGUMENTS_EXIT_CODE = 2;

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
  const program = buildProgram(packageVersion(), async (action) => {
    const flags = program.opts<GlobalFlags>();
    exitCode = await runAction(action, openSession(flags, surroundings, signal));
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) return await fail(error);
    if (error.exitCode === 0) return 0;
    if (error.code === "commander.help") return FAULTY_ARGUMENTS_EXIT_CODE;
    return await fail(usageError(error));
  }
}

function openSession(flags: GlobalFlags, surroundings: Surroundings, signal: AbortSignal): Session {
  let config: Config | undefined;
  return {
    flags,
    surroundings,
    signal,
    config: () => {
      config ??= loadConfig(flags, surroundings);
      return config;
    },
  };
}

async function runAction(action: Action, session: Session): Promise<number> {
  try {
    const report = await action(session);
    if (report === undefined) return 0;
    const isJson = session.flags.json === true;
    const text = isJson ? JSON.stringify(report.json, null, 2) : report.text;
    await write(process.stdout, text === "" || text.endsWith("\n") ? text : `${text}\n`);
    return report.isFailed === true ? FAILED_EXIT_CODE : 0;
  } catch (error) {
    return await fail(error);
  }
}

async function fail(thrown: unknown): Promise<number> {
  const error = AppError.from(thrown);
  await write(process.stderr, `soci-referrers: ${plainText(error.message)}\n`);
  return error.code === "invalid_argument" ? FAULTY_ARGUMENTS_EXIT_CODE : FAILED_EXIT_CODE;
}

function usageError(error: CommanderError): AppError {
  return new AppError("invalid_argument", error.message.replace(/^error: /, ""), { cause: error });
}

/** One line without control characters: messages may hold text from elsewhere, and nothing of it is to steer the terminal. */
function plainText(message: string): string {
  return message.replace(/\s+/g, " ").replace(/[\p{Cc}\p{Cf}]/gu, "?");
}

async function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, "drain");
}
