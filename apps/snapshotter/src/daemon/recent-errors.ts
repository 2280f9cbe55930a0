import type { LogFields, Logger } from "@soci-ts/core";
import type { ErrorEntry } from "../documents.ts";

/** Errors that `status` shows. */
const MAX_ENTRIES = 100;

/** The latest warnings and errors of the log, for `status` and `explain`: the same one in a row counts up. */
export class RecentErrors {
  readonly #entries: ErrorEntry[] = [];

  /** The latest first. */
  list(): readonly ErrorEntry[] {
    return [...this.#entries].reverse();
  }

  /** Those that are about something. */
  about(subject: string): readonly ErrorEntry[] {
    return this.list().filter(
      ({ about, message }) => about === subject || message.includes(subject),
    );
  }

  /** A logger that remembers warnings and errors, and passes everything on. */
  watch(logger: Logger, bound: LogFields = {}): Logger {
    const note = (message: string, fields: LogFields = {}): void => {
      this.#add(message, { ...bound, ...fields });
    };
    return {
      debug: (message, fields) => logger.debug(message, fields),
      info: (message, fields) => logger.info(message, fields),
      warn: (message, fields) => {
        note(message, fields);
        logger.warn(message, fields);
      },
      error: (message, fields) => {
        note(message, fields);
        logger.error(message, fields);
      },
      child: (fields) => this.watch(logger.child(fields), { ...bound, ...fields }),
    };
  }

  #add(phrase: string, fields: LogFields): void {
    const why = fields["error"] ?? fields["why"] ?? fields["reason"];
    const message = why === undefined ? phrase : `${phrase}: ${why}`;
    const about = fields["layer"] ?? fields["image"] ?? fields["key"] ?? fields["registry"];
    const last = this.#entries.at(-1);
    const isSame = last?.message === message && last.about === about?.toString();
    if (isSame) this.#entries.pop();
    this.#entries.push({
      time: new Date().toISOString(),
      code: String(fields["code"] ?? "unknown"),
      message,
      about: about?.toString(),
      times: isSame ? (last.times ?? 1) + 1 : 1,
    });
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift();
  }
}
