import { createHmac, randomBytes } from "node:crypto";
import { SingleFlight } from "@soci-ts/core";
import type { PasswordHashes } from "./htpasswd.ts";
import type { PasswordThread } from "./password-thread.ts";
import { RateLimiter } from "./rate-limiter.ts";
import { tooManyRequests } from "./refusals.ts";
import type { WatchedFile } from "./watched-file.ts";

/** A right password is remembered so long (5 min), by a keyed hash: bcrypt for each request would be slow. */
const REMEMBER_MS = 300_000;
const MAX_REMEMBERED = 1_000;
/** Passwords that may wait for the thread, in all and of one client; a few hundred milliseconds each with the usual costs. */
const MAX_WAITING = 64;
const MAX_WAITING_OF_CLIENT = 8;
/** bcrypt reads 72 bytes; nobody types more than this. */
const MAX_PASSWORD_LENGTH = 512;

/**
 * Checks user names and passwords against an htpasswd file. A flood of guesses does not reach the rest: hashes are computed by one
 * thread, what waits for it is bounded, and a client that guesses wrong too often has to wait. Unknown users cost as much time as known ones.
 */
export class Passwords {
  readonly #file: WatchedFile<PasswordHashes>;
  readonly #thread: PasswordThread;
  readonly #failures: RateLimiter;
  readonly #secret = randomBytes(32);
  readonly #remembered = new Map<string, number>();
  readonly #running = new SingleFlight<boolean>();
  readonly #waiting = new Map<string, number>();
  #waitingInAll = 0;

  constructor(
    file: WatchedFile<PasswordHashes>,
    thread: PasswordThread,
    failuresPerMinute: number,
  ) {
    this.#file = file;
    this.#thread = thread;
    this.#failures = new RateLimiter({
      perSecond: failuresPerMinute / 60,
      burst: failuresPerMinute,
    });
  }

  /** True if there is such a user. */
  has(user: string): boolean {
    return this.#file.value.has(user);
  }

  /** Looks at the file at once. */
  reload(): void {
    this.#file.reload();
  }

  /**
   * True if the password is the user's.
   * @param client - where the attempt comes from: attempts are counted by it.
   * @throws SpecError `TOOMANYREQUESTS` after too many wrong ones, or while too many wait.
   */
  async check(user: string, password: string, client: string): Promise<boolean> {
    const hashes = this.#file.value;
    const known = hashes.get(user);
    const hash = known ?? this.#somebodys(hashes, user);
    if (hash === undefined || password.length > MAX_PASSWORD_LENGTH) return false;
    const key = createHmac("sha256", this.#secret)
      .update(JSON.stringify([user, password, hash]))
      .digest("base64");
    if ((this.#remembered.get(key) ?? 0) > performance.now()) return true;
    const waitMs = this.#failures.peek(client);
    if (waitMs > 0) throw tooManyRequests("too many wrong passwords", waitMs);
    const isRight = await this.#running.do(key, async () => {
      const isFitting = await this.#compare(password, hash, client);
      if (!isFitting || known === undefined) this.#failures.take(client);
      return isFitting && known !== undefined;
    });
    if (isRight) this.#remember(key);
    return isRight;
  }

  /** Somebody's hash, always the same for a name: so one that does not exist takes as long as one that does, whatever costs there are. */
  #somebodys(hashes: PasswordHashes, user: string): string | undefined {
    const all = [...hashes.values()];
    const digest = createHmac("sha256", this.#secret).update(user).digest();
    return all[digest.readUInt32BE() % Math.max(1, all.length)];
  }

  async #compare(password: string, hash: string, client: string): Promise<boolean> {
    const ofClient = this.#waiting.get(client) ?? 0;
    if (this.#waitingInAll >= MAX_WAITING || ofClient >= MAX_WAITING_OF_CLIENT) {
      throw tooManyRequests("too many passwords wait to be checked", 1000);
    }
    this.#waitingInAll += 1;
    this.#waiting.set(client, ofClient + 1);
    try {
      return await this.#thread.compare(password, hash);
    } finally {
      this.#waitingInAll -= 1;
      const left = (this.#waiting.get(client) ?? 1) - 1;
      if (left > 0) this.#waiting.set(client, left);
      else this.#waiting.delete(client);
    }
  }

  #remember(key: string): void {
    this.#remembered.delete(key);
    this.#remembered.set(key, performance.now() + REMEMBER_MS);
    const [oldest] = this.#remembered.size > MAX_REMEMBERED ? this.#remembered.keys() : [];
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }
}
