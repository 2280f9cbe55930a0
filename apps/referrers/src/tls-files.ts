import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { AppError, type Logger } from "@soci-ts/core";

/** Certificates are renewed weeks before they end: looking every ten seconds is often enough. */
const CHECK_INTERVAL_MS = 10_000;

/** Where certificate and key are. */
export interface TlsPaths {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Certificate and key, in PEM. */
export interface TlsPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A certificate and its key, which are read again when they change. What does not fit together (yet) is logged, and the pair before stays. */
export class TlsFiles implements Disposable {
  readonly #paths: TlsPaths;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  #pair: TlsPair;
  #version: string;
  #apply: (pair: TlsPair) => void = () => {};

  /** @throws AppError `invalid_argument` if the files can't be read, or do not fit together. */
  constructor(paths: TlsPaths, logger: Logger) {
    this.#paths = paths;
    this.#logger = logger;
    this.#version = versionOf(paths);
    this.#pair = readPair(paths);
    this.#timer = setInterval(() => this.reload(), CHECK_INTERVAL_MS).unref();
  }

  /** The pair to begin with. */
  get pair(): TlsPair {
    return this.#pair;
  }

  /** Calls `apply` with each pair that comes later. */
  onChange(apply: (pair: TlsPair) => void): void {
    this.#apply = apply;
  }

  /** Looks at the files at once. */
  reload(): void {
    const version = versionOf(this.#paths);
    if (version === this.#version) return;
    this.#version = version;
    try {
      this.#pair = readPair(this.#paths);
      this.#apply(this.#pair);
      this.#logger.info("certificate read again", { path: this.#paths.certificateFile });
    } catch (error) {
      const reason = AppError.from(error).message;
      this.#logger.error("cannot use changed certificate, keeping the one before", { reason });
    }
  }

  /** Looks no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function readPair({ certificateFile, keyFile }: TlsPaths): TlsPair {
  try {
    const pair = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) };
    createSecureContext(pair);
    return pair;
  } catch (error) {
    throw unusable(certificateFile, keyFile, AppError.from(error));
  }
}

/** OpenSSL's messages name no secrets, only what does not fit. */
function unusable(certificate: string, key: string, cause: AppError): AppError {
  const message = `Cannot use certificate ${certificate} with key ${key}: ${cause.message}`;
  return new AppError("invalid_argument", message, { cause });
}

function versionOf({ certificateFile, keyFile }: TlsPaths): string {
  return [certificateFile, keyFile].map(fileVersion).join(" ");
}

function fileVersion(path: string): string {
  const { ino, mtimeMs, ctimeMs, size } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return `${ino} ${mtimeMs} ${ctimeMs} ${size}`;
}
