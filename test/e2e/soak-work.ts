// What goes on at a node in a soak: images come and go, containers start and end, their files are read and compared with the truth.
import { join } from "node:path";
import type { ContainerdNode } from "@soci-ts/testkit";
import { DATA_SLEEP, type DataImage } from "./data-image.ts";
import type { Pod, PodContainer } from "./node-pod.ts";
import { startReader } from "./readers.ts";
import type { Chance } from "./seed.ts";
import type { Trouble } from "./soak-trouble.ts";

/** An image of the soak, and what is known of it on the node. */
export interface SoakImage {
  readonly registry: string;
  readonly reference: string;
  readonly image: DataImage;
}

/** What happened; whatever is in `faults` makes the soak fail. */
export interface SoakCounts {
  readonly actions: Map<string, number>;
  filesRead: number;
  eiosExplained: number;
  refusalsExplained: number;
  readonly faults: string[];
}

interface Running {
  readonly of: SoakImage;
  readonly container: PodContainer;
  readers: number;
}

const MOST_CONTAINERS = 8;
const MOST_FILES_AT_ONCE = 12;
const WORKERS = 2;
const READERS = 2;
const PAUSE_MS = 400;

/** Does things at random until it is told to stop. */
export class SoakWork {
  readonly counts: SoakCounts = {
    actions: new Map(),
    ...{ filesRead: 0, eiosExplained: 0, refusalsExplained: 0, faults: [] },
  };
  readonly #node: ContainerdNode;
  readonly #pod: Pod;
  readonly #images: readonly SoakImage[];
  readonly #trouble: Trouble;
  readonly #chance: Chance;
  readonly #pulled = new Set<SoakImage>();
  /** Images that somebody pulls, removes or starts a container of. */
  readonly #busy = new Set<SoakImage>();
  readonly #running: Running[] = [];
  #loops: readonly Promise<void>[] = [];
  #isOver = false;

  constructor(
    place: { readonly node: ContainerdNode; readonly pod: Pod; readonly trouble: Trouble },
    images: readonly SoakImage[],
    chance: Chance,
  ) {
    this.#node = place.node;
    this.#pod = place.pod;
    this.#trouble = place.trouble;
    this.#images = images;
    this.#chance = chance;
  }

  /** Pulls every image and starts a container of each. @throws if that fails: nothing is wrong yet. */
  async fill(): Promise<void> {
    for (const image of this.#images) {
      await this.#pull(image);
      await this.#start(image);
    }
  }

  start(): void {
    this.#loops = [
      ...Array.from({ length: WORKERS }, () => this.#repeat(() => this.#work())),
      ...Array.from({ length: READERS }, () => this.#repeat(() => this.#read())),
    ];
    for (const loop of this.#loops) loop.catch(() => {}); // stop() tells
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #repeat(act: () => Promise<void>): Promise<void> {
    while (!this.#isOver) {
      await act();
      await this.#chance.pause(PAUSE_MS);
    }
  }

  async #work(): Promise<void> {
    const subject = this.#chance.pick(this.#images);
    if (this.#busy.has(subject)) return;
    this.#busy.add(subject);
    const startedAt = performance.now();
    const [name, action] = this.#actionFor(subject);
    this.#count(name);
    try {
      await action();
    } catch (error) {
      this.#refused(subject, startedAt, `${name}: ${(error as Error).message}`);
    } finally {
      this.#busy.delete(subject);
    }
  }

  #actionFor(subject: SoakImage): [string, () => Promise<void>] {
    const mine = this.#running.filter(({ of }) => of === subject);
    const idle = mine.find(({ readers }) => readers === 0);
    if (!this.#pulled.has(subject)) return ["pull", () => this.#pull(subject)];
    const isFull = this.#running.length >= MOST_CONTAINERS;
    if (idle !== undefined && (isFull || this.#chance.below(2) === 0))
      return ["remove container", () => this.#remove(idle)];
    if (mine.length === 0 && this.#chance.below(2) === 0)
      return ["remove image", () => this.#removeImage(subject)];
    return ["start", () => this.#start(subject)];
  }

  async #pull(subject: SoakImage): Promise<void> {
    await this.#pod.pull(subject.reference);
    this.#pulled.add(subject);
  }

  async #removeImage(subject: SoakImage): Promise<void> {
    this.#pulled.delete(subject);
    await this.#pod.removeImage(subject.reference);
  }

  async #start(subject: SoakImage): Promise<void> {
    const container = await this.#pod.create(subject.reference, DATA_SLEEP);
    try {
      await container.start();
    } catch (error) {
      await container.remove().catch(() => undefined); // it goes with the pod
      throw error;
    }
    this.#running.push({ of: subject, container, readers: 0 });
  }

  async #remove(running: Running): Promise<void> {
    this.#running.splice(this.#running.indexOf(running), 1);
    await running.container.remove();
  }

  /** Reads some files of a container, by a process outside of it that sees what it sees. */
  async #read(): Promise<void> {
    if (this.#running.length === 0) return;
    const running = this.#chance.pick(this.#running);
    const { of, container } = running;
    const paths = [...of.image.sums.keys()];
    const count = 1 + this.#chance.below(MOST_FILES_AT_ONCE);
    const chosen = Array.from({ length: count }, () => this.#chance.pick(paths));
    const state = "state/io.containerd.runtime.v2.task/k8s.io";
    const root = join(this.#node.root, state, container.id, "rootfs");
    const startedAt = performance.now();
    running.readers += 1;
    this.#count("read");
    try {
      const reader = startReader("sha256sum", ...chosen.map((path) => join(root, path)));
      const { stdout, stderr, signal } = await reader.result;
      if (signal !== null) this.counts.faults.push(`a read took too long: ${chosen.join(" ")}`);
      this.#compare(of, stdout, root);
      for (const line of stderr.split("\n").filter(Boolean)) this.#failed(of, startedAt, line);
    } finally {
      running.readers -= 1;
    }
  }

  #compare({ image, reference }: SoakImage, stdout: string, root: string): void {
    for (const line of stdout.split("\n").filter(Boolean)) {
      this.counts.filesRead += 1;
      const path = line.slice(66 + root.length + 1);
      if (image.sums.get(path) !== line.slice(0, 64))
        this.counts.faults.push(`wrong bytes in ${reference}: ${line}`);
    }
  }

  #failed({ registry, reference }: SoakImage, startedAt: number, line: string): void {
    const isExplained =
      line.endsWith(": Input/output error") && this.#trouble.explainsEio(registry, startedAt);
    if (isExplained) this.counts.eiosExplained += 1;
    else this.counts.faults.push(`unexplained in ${reference}: ${line}`);
  }

  #refused({ registry, reference }: SoakImage, startedAt: number, message: string): void {
    if (this.#trouble.explainsRefusal(registry, startedAt)) this.counts.refusalsExplained += 1;
    else this.counts.faults.push(`unexplained, ${reference}: ${message}`);
  }

  #count(action: string): void {
    this.counts.actions.set(action, (this.counts.actions.get(action) ?? 0) + 1);
  }
}
