import type { LogFields, Logger } from "@soci-ts/core";
import { destination, type Logger as PinoLogger, pino } from "pino";
import type { Config } from "./config.ts";

/**
 * A logger that writes JSON lines to stderr, each before the call returns, so that none is lost when the process dies.
 * @param bindings - fields of every line; `process` tells the daemon's processes apart.
 */
export function createLogger(level: Config["logLevel"], bindings: LogFields = {}): Logger {
  return bind(
    pino(
      { level, base: bindings, timestamp: () => `,"time":"${new Date().toISOString()}"` },
      destination({ dest: 2, sync: true }),
    ),
  );
}

function bind(to: PinoLogger): Logger {
  return {
    debug: (message: string, fields: LogFields = {}) => to.debug(fields, message),
    info: (message: string, fields: LogFields = {}) => to.info(fields, message),
    warn: (message: string, fields: LogFields = {}) => to.warn(fields, message),
    error: (message: string, fields: LogFields = {}) => to.error(fields, message),
    child: (fields: LogFields) => bind(to.child(fields)),
  };
}
