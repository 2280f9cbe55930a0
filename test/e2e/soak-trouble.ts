// What goes wrong in a soak: registries misbehave, processes are killed. Says afterwards which failures that explains.
import type { DaemonRole, Fault, FaultProxy, RunningSnapshotter } from "@soci-ts/testkit";
import type { Chance } from "./seed.ts";

/** A time in which a registry had a fault, in milliseconds of `performance.now()`. */
interface Period {
  readonly registry: string;
  readonly fault: string;
  /** Whether a read may fail for it: it outlasts what can be tried again. */
  readonly isFatal: boolean;
  readonly from: number;
  to: number;
}

interface Kind {
  readonly name: string;
  readonly isFatal: boolean;
  /** A period of it lasts for up to so long, … */
  readonly lastsMs: number;
  /** … or it happens to so many requests only. */
  readonly requests?: number;
  make(chance: Chance): Fault;
}

const LAST_MS = 5000;
const challenge = { "www-authenticate": 'Basic realm="registry"' };
const later = { "retry-after": "1" };
const LASTING: readonly Kind[] = [
  { name: "hang", isFatal: true, lastsMs: LAST_MS, make: () => ({ kind: "hang", forMs: 14_000 }) },
  { name: "503", isFatal: true, lastsMs: LAST_MS, make: () => ({ kind: "status", status: 503 }) },
  {
    ...{ name: "429", isFatal: true, lastsMs: LAST_MS },
    make: () => ({ kind: "status", status: 429, headers: later }),
  },
  {
    ...{ name: "401", isFatal: true, lastsMs: LAST_MS },
    make: () => ({ kind: "status", status: 401, headers: challenge }),
  },
  {
    ...{ name: "cut", isFatal: true, lastsMs: LAST_MS },
    make: (chance) => ({ kind: "cut", afterBytes: chance.below(20_000) }),
  },
  {
    ...{ name: "flip", isFatal: true, lastsMs: LAST_MS },
    make: (chance) => ({ kind: "flip", atByte: chance.below(20_000) }),
  },
  {
    ...{ name: "slow", isFatal: false, lastsMs: LAST_MS },
    make: (chance) => ({ kind: "delay", delayMs: 100 + chance.below(500) }),
  },
];
/** These happen to a request or two, which are tried again. */
const PASSING: readonly Kind[] = LASTING.filter(({ name }) =>
  ["503", "429", "cut"].includes(name),
).map((kind) => ({ ...kind, name: `one ${kind.name}`, isFatal: false, requests: 1 }));

const MORTALS: readonly DaemonRole[] = ["daemon", "serve-layers", "image-worker", "mount-helper"];
/** Between two kills, and between two faults of a registry: so long on an average that something gets done in between. */
const KILL_EVERY_MS = 10_000;
const FAULT_EVERY_MS = 5000;
/** A read in flight at three crashes fails on purpose: between two of them it has the time to end. */
const SERVER_REST_MS = 4000;
/** As long after a fault a read may still fail for it: its deadline, and what is remembered of failures. */
const AFTERMATH_MS = 16_000;

/** Makes trouble until it is told to stop. */
export class Trouble {
  readonly kills: Map<DaemonRole, number> = new Map();
  readonly faults: Map<string, number> = new Map();
  readonly #snapshotter: RunningSnapshotter;
  readonly #proxies: ReadonlyMap<string, FaultProxy>;
  readonly #chance: Chance;
  readonly #periods: Period[] = [];
  #lastKill = Number.NEGATIVE_INFINITY;
  #serverRestsUntil = 0;
  #running: readonly Promise<void>[] = [];
  #isOver = false;

  /** @param proxies - in front of the registries, by the registries' names. */
  constructor(
    snapshotter: RunningSnapshotter,
    proxies: ReadonlyMap<string, FaultProxy>,
    chance: Chance,
  ) {
    this.#snapshotter = snapshotter;
    this.#proxies = proxies;
    this.#chance = chance;
  }

  start(): void {
    const faults = [...this.#proxies].map(([name, proxy]) => this.#keepFailing(name, proxy));
    this.#running = [this.#keepKilling(), ...faults];
    for (const loop of this.#running) loop.catch(() => {}); // stop() tells
  }

  /** Ends all trouble. Rejects if the daemon could not be started again. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
  }

  /** Whether a read of a registry's image that began then may fail with EIO now. */
  explainsEio(registry: string, startedAt: number): boolean {
    return this.#periods.some(
      (period) =>
        period.registry === registry && period.isFatal && period.to + AFTERMATH_MS > startedAt,
    );
  }

  /** Whether a call of containerd's that began then may fail now. Nobody promises that these are tried again. */
  explainsRefusal(registry: string, startedAt: number): boolean {
    return (
      this.#lastKill + AFTERMATH_MS > startedAt ||
      this.#periods.some((it) => it.registry === registry && it.to + AFTERMATH_MS > startedAt)
    );
  }

  async #keepKilling(): Promise<void> {
    while (!this.#isOver) {
      await this.#chance.pause(2 * KILL_EVERY_MS);
      let roles = this.#chance.some(MORTALS);
      if (performance.now() < this.#serverRestsUntil)
        roles = roles.filter((role) => role !== "serve-layers");
      if (this.#isOver) return;
      this.#lastKill = Number.POSITIVE_INFINITY; // until the daemon is there again
      await this.#snapshotter.kill(roles);
      const now = performance.now();
      this.#lastKill = now;
      if (roles.includes("serve-layers")) this.#serverRestsUntil = now + SERVER_REST_MS;
      for (const role of roles) this.kills.set(role, (this.kills.get(role) ?? 0) + 1);
    }
  }

  async #keepFailing(registry: string, proxy: FaultProxy): Promise<void> {
    while (!this.#isOver) {
      await this.#chance.pause(2 * FAULT_EVERY_MS);
      if (this.#isOver) return;
      const kind = this.#chance.pick(this.#chance.below(2) === 0 ? LASTING : PASSING);
      this.faults.set(kind.name, (this.faults.get(kind.name) ?? 0) + 1);
      const { name: fault, isFatal } = kind;
      const from = performance.now();
      const period = { registry, fault, isFatal, from, to: Number.POSITIVE_INFINITY };
      this.#periods.push(period);
      let left = kind.requests ?? Number.POSITIVE_INFINITY;
      proxy.rule = ({ path }) => {
        if (left <= 0 || !path.includes("/blobs/")) return undefined;
        left -= 1;
        return kind.make(this.#chance);
      };
      await this.#chance.pause(kind.lastsMs);
      proxy.rule = undefined;
      period.to = performance.now();
    }
  }
}
