import type { LogFields, Logger } from "@soci-ts/core";
import type { Logger as PinoLogger } from "pino";

/** The packages' logger, bound to pino. */
export function pinoLogger(pino: PinoLogger): Logger {
  return {
    debug: (message, fields) => pino.debug(fields ?? {}, message),
    info: (message, fields) => pino.info(fields ?? {}, message),
    warn: (message, fields) => pino.warn(fields ?? {}, message),
    error: (message, fields) => pino.error(fields ?? {}, message),
    child: (fields: LogFields) => pinoLogger(pino.child(fields)),
  };
}
