/** A request that may be what made two servers crash. */
export interface Suspect {
  readonly key: bigint;
  readonly crashes: number;
}

/** How long suspects are waited for before the first trial; the kernel may send some of them again, or may have given them up. */
const ARRIVAL_MS = 500;
/** How long the first one is worked on while nothing else is, if it has crashed two servers; twice as long for each further crash. */
const ALONE_MS = 2000;
const MAX_ALONE_MS = 30_000;
/** The others follow so fast that each is begun within this time. */
const ALL_BEGUN_MS = 20_000;

/**
 * Lets suspects be worked on one after the other, and nothing beside them for a while, so that another crash convicts just one.
 *
 * Life: made with all suspects; each asks for its `turn` and says when it is `done`. The trials begin when all have come. A suspect that is not answered in
 * its time is left to work on, since it may wait for a registry that hangs: the next one begins, and so may everybody else. A crash then convicts
 * nobody, but who began last is tried first, and alone, by the next server, and for longer.
 */
export class Trials {
  readonly #queue: Suspect[];
  /** Suspects that have come, and how to let them begin. */
  readonly #waiting = new Map<bigint, () => void>();
  readonly #othersMayBegin: Promise<void>;
  #letOthersBegin: () => void = () => {};
  #isOpen: boolean;
  #hasStarted = false;
  #onTrial: bigint | undefined;
  #step: NodeJS.Timeout | undefined;
  readonly #aloneMs: number;
  readonly #stepMs: number;
  readonly #arrival: NodeJS.Timeout | undefined;

  /** @param suspects - in the order of their trials; none: everybody may begin at once. */
  constructor(suspects: readonly Suspect[]) {
    this.#queue = [...suspects];
    this.#isOpen = suspects.length === 0;
    this.#othersMayBegin = new Promise((resolve) => {
      this.#letOthersBegin = resolve;
    });
    const crashes = suspects[0]?.crashes ?? 0;
    this.#aloneMs = Math.min(MAX_ALONE_MS, ALONE_MS * 2 ** Math.max(0, crashes - 2));
    this.#stepMs = Math.min(ALONE_MS, Math.floor(ALL_BEGUN_MS / Math.max(1, suspects.length)));
    if (!this.#isOpen) this.#arrival = setTimeout(() => this.#start(), ARRIVAL_MS);
  }

  /** What to wait for before work on the request may begin; `undefined`: it may begin now. */
  turn(key: bigint): Promise<void> | undefined {
    if (this.#queue.some((suspect) => suspect.key === key)) return this.#suspectsTurn(key);
    return this.#isOpen ? undefined : this.#othersMayBegin;
  }

  /** The request was answered, or given up while it waited. */
  done(key: bigint): void {
    if (this.#waiting.delete(key)) {
      const at = this.#queue.findIndex((suspect) => suspect.key === key);
      this.#queue.splice(at, 1);
    }
    if (this.#onTrial === key) this.#next(this.#stepMs);
  }

  /** Ends all trials: everybody may begin. */
  close(): void {
    this.#queue.length = 0;
    clearTimeout(this.#arrival);
    clearTimeout(this.#step);
    for (const begin of this.#waiting.values()) begin();
    this.#waiting.clear();
    this.#open();
  }

  #suspectsTurn(key: bigint): Promise<void> {
    return new Promise((begin) => {
      this.#waiting.set(key, begin);
      if (this.#waiting.size === this.#queue.length && !this.#hasStarted) this.#start();
    });
  }

  #start(): void {
    this.#hasStarted = true;
    clearTimeout(this.#arrival);
    const alone = setTimeout(() => this.#open(), this.#aloneMs);
    void this.#othersMayBegin.then(() => clearTimeout(alone));
    this.#next(this.#aloneMs);
  }

  /** Those that have not come are left out: should they come later, they are like any other. */
  #next(stepMs: number): void {
    clearTimeout(this.#step);
    const at = this.#queue.findIndex(({ key }) => this.#waiting.has(key));
    const [suspect] = at < 0 ? [] : this.#queue.splice(at, 1);
    this.#onTrial = suspect?.key;
    if (suspect === undefined) {
      this.close();
      return;
    }
    this.#step = setTimeout(() => {
      this.#open();
      this.#next(this.#stepMs);
    }, stepMs);
    const begin = this.#waiting.get(suspect.key);
    this.#waiting.delete(suspect.key);
    begin?.();
  }

  #open(): void {
    this.#isOpen = true;
    this.#letOthersBegin();
  }
}
