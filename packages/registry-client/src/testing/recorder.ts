import type { LogFields, Logger } from "@soci-ts/core";

/** A logger that keeps all it is told. */
export function recordingLogger(lines: string[] = []): Logger & { readonly lines: string[] } {
  const record =
    (level: string, bound: LogFields) =>
    (message: string, fields: LogFields = {}): void => {
      lines.push(JSON.stringify({ level, message, ...bound, ...fields }));
    };
  const make = (bound: LogFields): Logger & { readonly lines: string[] } => ({
    lines,
    debug: record("debug", bound),
    info: record("info", bound),
    warn: record("warn", bound),
    error: record("error", bound),
    child: (fields) => make({ ...bound, ...fields }),
  });
  return make({});
}
