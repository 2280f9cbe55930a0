import { AppError, type Logger } from "@soci-ts/core";
import { dropFilePages } from "@soci-ts/linux";

/** After this many bytes were read or written, a file's pages are given back. */
const STEP_BYTES = 16 * 2 ** 20;

/** And this long after the last read or write: then what is dirty has begun to be written, and goes with one more round. */
const QUIET_MS = 1000;

/** Rounds without a read or write in between, the last one for what was still being written at the one before. */
const QUIET_ROUNDS = 2;

/** How pages are given back, and when; by default those of this file. */
export interface FilePagesOptions {
  readonly logger: Logger;
  readonly drop?: ((fd: number) => Promise<boolean>) | undefined;
  readonly quietMs?: number | undefined;
}

/**
 * Keeps a cache file out of the page cache: whoever reads the layer has its bytes in pages of the file system above, so these would be a second copy.
 * Where pages can't be given back, they stay until the kernel needs the memory.
 */
export class FilePages {
  readonly #fd: number;
  readonly #options: FilePagesOptions;
  #bytes = 0;
  #quietRounds = 0;
  #round: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOff = false;

  constructor(fd: number, options: FilePagesOptions) {
    this.#fd = fd;
    this.#options = options;
  }

  /** Notes that bytes were read or written. */
  touched(bytes: number): void {
    if (this.#isOff) return;
    this.#bytes += bytes;
    if (this.#bytes >= STEP_BYTES) this.#start();
    this.#quietRounds = QUIET_ROUNDS;
    if (this.#timer === undefined) {
      const { quietMs = QUIET_MS } = this.#options;
      this.#timer = setTimeout(() => this.#onQuiet(), quietMs).unref();
    } else this.#timer.refresh();
  }

  /** Resolves when the descriptor is not used any more; nothing is given back afterwards. */
  async close(): Promise<void> {
    this.#isOff = true;
    clearTimeout(this.#timer);
    await this.#round;
  }

  #onQuiet(): void {
    this.#start();
    this.#quietRounds -= 1;
    if (this.#quietRounds > 0) this.#timer?.refresh();
  }

  #start(): void {
    if (this.#round !== undefined) return;
    this.#bytes = 0;
    const { drop = dropFilePages } = this.#options;
    this.#round = drop(this.#fd)
      .then((done) => {
        if (!done) this.#isOff = true;
      })
      .catch((error: unknown) => {
        this.#isOff = true;
        const { message } = AppError.from(error);
        this.#options.logger.warn("page cache of a layer's file is kept", { error: message });
      })
      .finally(() => {
        this.#round = undefined;
      });
  }
}
