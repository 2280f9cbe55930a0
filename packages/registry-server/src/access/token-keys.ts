import { randomBytes, randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { AppError, type Logger } from "@soci-ts/core";
import { absentAsUndefined } from "../blob-files.ts";
import { isObject } from "./jwt.ts";

const KEY_BYTES = 32;
/** A key signs for so long (30 days). */
const ROTATION_MS: number = 30 * 24 * 60 * 60 * 1000;
const MODE = 0o600;

/** A key that tokens are signed with. */
export interface TokenKey {
  readonly id: string;
  readonly secret: Uint8Array;
  readonly createdMs: number;
}

/**
 * The keys of the service's own tokens, in a file of mode 0600, made when it is missing. The newest signs; after 30 days a new one is
 * made, and the one before goes when no token signed with it can be valid any more. To take back all tokens at once: remove the file and
 * restart. Where they can't be written (a root that is read-only, a full disk), they live as long as the process.
 */
export class TokenKeys {
  readonly #path: string;
  readonly #tokenLifetimeMs: number;
  readonly #logger: Logger;
  #keys: readonly TokenKey[] = [];

  private constructor(path: string, tokenLifetimeMs: number, logger: Logger) {
    this.#path = path;
    this.#tokenLifetimeMs = tokenLifetimeMs;
    this.#logger = logger;
  }

  /** @throws AppError `data_loss` if the file holds something else. */
  static async open(path: string, tokenLifetimeMs: number, logger: Logger): Promise<TokenKeys> {
    const keys = new TokenKeys(path, tokenLifetimeMs, logger);
    const text = await readFile(path, "utf8").catch(absentAsUndefined);
    if (text !== undefined) keys.#keys = parse(path, text);
    keys.rotate();
    return keys;
  }

  /** Makes a new key if the newest is too old, and drops those that nothing needs. */
  rotate(nowMs: number = Date.now()): void {
    const isDue = nowMs - (this.#keys[0]?.createdMs ?? Number.NEGATIVE_INFINITY) >= ROTATION_MS;
    const all = isDue ? [newKey(nowMs), ...this.#keys] : this.#keys;
    const kept = all.filter((_, at) => {
      const successor = all[at - 1];
      return successor === undefined || successor.createdMs + this.#tokenLifetimeMs > nowMs;
    });
    if (!isDue && kept.length === this.#keys.length) return;
    this.#keys = kept;
    try {
      write(this.#path, kept);
    } catch (error) {
      const reason = AppError.from(error).message;
      this.#logger.warn("token keys are not kept: tokens end with this process", { reason });
    }
  }

  /** The key that signs. */
  get newest(): TokenKey {
    const [newest] = this.#keys;
    if (newest === undefined) throw new AppError("internal", "Cannot sign: there is no key");
    return newest;
  }

  /** A key by its id. */
  find(id: unknown): TokenKey | undefined {
    return this.#keys.find((key) => key.id === id);
  }
}

function newKey(createdMs: number): TokenKey {
  return { id: randomUUID(), secret: randomBytes(KEY_BYTES), createdMs };
}

function parse(path: string, text: string): readonly TokenKey[] {
  try {
    const document: unknown = JSON.parse(text);
    const keys: unknown = isObject(document) ? document["keys"] : undefined;
    if (Array.isArray(keys)) return keys.map(parseKey);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw unreadable(path);
}

function parseKey(value: unknown): TokenKey {
  const { id, secret, createdMs } = isObject(value) ? value : {};
  if (typeof id !== "string" || typeof secret !== "string" || typeof createdMs !== "number") {
    throw new TypeError("a key lacks id, secret or createdMs");
  }
  const bytes = Buffer.from(secret, "base64url");
  if (bytes.length !== KEY_BYTES) throw new TypeError(`a secret has ${bytes.length} bytes`);
  return { id, secret: bytes, createdMs };
}

function unreadable(path: string, cause?: unknown): AppError {
  return new AppError(
    "data_loss",
    `Cannot read token keys ${JSON.stringify(path)}: damaged; remove the file, and new ones are made`,
    { cause },
  );
}

/** The whole file at once: a crash leaves the old or the new one. */
function write(path: string, keys: readonly TokenKey[]): void {
  const text = JSON.stringify({
    keys: keys.map(({ id, secret, createdMs }) => ({
      id,
      secret: Buffer.from(secret).toString("base64url"),
      createdMs,
    })),
  });
  const temporary = `${path}.new`;
  const descriptor = openSync(temporary, "w", MODE);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, path);
}
