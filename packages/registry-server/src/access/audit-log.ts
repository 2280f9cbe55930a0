import { closeSync, openSync, writeSync } from "node:fs";
import { AppError, type Logger } from "@soci-ts/core";
import { RateLimiter } from "./rate-limiter.ts";

const MODE = 0o600;
const MAX_TEXT_LENGTH = 256;
/** Lines about what one client was refused. */
const REFUSALS = { perSecond: 2, burst: 50 };

/** What was asked, by whom, and what came of it. Never holds credentials, nor names that nobody has verified. */
export interface AuditEvent {
  /** Where from: an IP address. */
  readonly client: string;
  /** `null` for nobody in particular. */
  readonly user: string | null;
  readonly action: "login" | "ping" | "pull" | "push" | "delete" | "other";
  readonly method: string;
  readonly repository?: string | undefined;
  /** Tag, digest or upload, as it stands in the path. */
  readonly target?: string | undefined;
  readonly digest?: string | undefined;
  readonly scope?: string | undefined;
  readonly status: number;
  readonly userAgent?: string | undefined;
}

/** One JSON document per line, appended; the file may be moved away, {@link AuditLog.reopen} then makes a new one. */
export class AuditLog implements Disposable {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #refusals = new RateLimiter(REFUSALS);
  #descriptor: number | undefined;

  /** Opens the file, made with mode 0600. @throws as the file system does. */
  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    this.#descriptor = openSync(path, "a", MODE);
  }

  /** Appends an event, at once: an answer is not sent before its line is with the kernel. A failure is logged and ends nothing. */
  write(event: AuditEvent, time: Date = new Date()): void {
    const bounded = Object.entries(event).map(([name, value]) => [
      name,
      typeof value === "string" ? value.slice(0, MAX_TEXT_LENGTH) : value,
    ]);
    const line = JSON.stringify({ time: time.toISOString(), ...Object.fromEntries(bounded) });
    try {
      if (this.#descriptor !== undefined) writeSync(this.#descriptor, `${line}\n`);
    } catch (error) {
      this.#logger.error("cannot write audit log", { reason: AppError.from(error).message });
    }
  }

  /** The same for what was refused: clients can send any number of such requests, so only some lines of each a second are kept. */
  writeRefusal(event: AuditEvent): void {
    if (this.#refusals.take(event.client) === 0) this.write(event);
  }

  /** Opens the file anew under its name. Where that fails, it is logged, and the old one goes on. */
  reopen(): void {
    try {
      const next = openSync(this.#path, "a", MODE);
      this[Symbol.dispose]();
      this.#descriptor = next;
    } catch (error) {
      this.#logger.error("cannot reopen audit log", { reason: AppError.from(error).message });
    }
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
