import { readFileSync, statSync } from "node:fs";
import { AppError, type Logger } from "@soci-ts/core";

const CHECK_INTERVAL_MS = 1000;
const MAX_FILE_BYTES: number = 16 * 1024 * 1024;

/**
 * What a file says, read again when the file changes: looked at when it is asked for, at most once a second. A change that can't be
 * used is logged, and what was there before stays.
 */
export class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  readonly #logger: Logger;
  #value: T;
  #version: string;
  #checkedMs: number;

  /** Reads the file. @throws as the file system or `parse` does, with the path in the message. */
  constructor(path: string, parse: (text: string) => T, logger: Logger) {
    this.#path = path;
    this.#parse = parse;
    this.#logger = logger;
    this.#version = this.#look();
    this.#value = this.#read();
    this.#checkedMs = Date.now();
  }

  /** What the file says now, or said a second ago. */
  get value(): T {
    if (Math.abs(Date.now() - this.#checkedMs) >= CHECK_INTERVAL_MS) this.reload();
    return this.#value;
  }

  /** Looks at the file at once. */
  reload(): void {
    this.#checkedMs = Date.now();
    let version = "absent";
    try {
      version = this.#look();
      if (version === this.#version) return;
      this.#value = this.#read();
      this.#logger.info("file read again", { path: this.#path });
    } catch (error) {
      // Said once for each state of the file, not once a second.
      if (version === this.#version) return;
      const reason = AppError.from(error).message;
      this.#logger.error("cannot use changed file, keeping what it said before", {
        path: this.#path,
        reason,
      });
    }
    this.#version = version;
  }

  #look(): string {
    const { ino, size, mtimeMs, ctimeMs } = statSync(this.#path);
    if (size > MAX_FILE_BYTES) {
      throw new AppError(
        "invalid_argument",
        `Cannot read ${this.#path}: it has ${size} bytes, want at most ${MAX_FILE_BYTES}`,
      );
    }
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  }

  #read(): T {
    try {
      return this.#parse(readFileSync(this.#path, "utf8"));
    } catch (error) {
      throw unusable(this.#path, AppError.from(error));
    }
  }
}

function unusable(path: string, cause: AppError): AppError {
  return new AppError(cause.code, `Cannot use ${path}: ${cause.message}`, { cause });
}
