import { createRequire } from "node:module";
import type { LogFields, Logger } from "@soci-ts/core";
import type * as Pino from "pino";
import { LOG_LEVELS, type LogLevel } from "./config.ts";

/**
 * A logger that writes JSON lines to stderr, each before the call returns, so that none is lost when the process ends. The library is
 * loaded with the first line: most commands write none.
 */
export function createLogger(level: LogLevel): Logger {
  const most = LOG_LEVELS.indexOf(level);
  return bind(
    once(() => openLog(level)),
    (line) => LOG_LEVELS.indexOf(line) <= most,
  );
}

function openLog(level: LogLevel): Pino.Logger {
  const { destination, pino } = createRequire(import.meta.url)("pino") as typeof Pino;
  return pino({ level, base: null }, destination({ dest: 2, sync: true }));
}

function bind(to: () => Pino.Logger, isWritten: (level: LogLevel) => boolean): Logger {
  const write =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields: LogFields = {}): void => {
      if (isWritten(level)) to()[level](fields, message);
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (fields: LogFields) =>
      bind(
        once(() => to().child(fields)),
        isWritten,
      ),
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
