import { chmodSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DisposeStack } from "@soci-ts/core";
import type { Labels, Mount, SnapshotInfo, SnapshotService } from "../contract/types.ts";
import { mountAll, unmountAll } from "./mounting.ts";
import { assertSameTree, type Change } from "./trees.ts";

/** What the suite is run on. */
export interface SuiteSubject extends AsyncDisposable {
  readonly service: SnapshotService;
  /**
   * Makes a committed snapshot with no parent whose content is what `fill` writes into an empty directory, in another way than by `prepare` and `commit`.
   * Bottom layers are made with it, if it is there.
   * @returns the snapshot's name.
   */
  base?(fill: Change): Promise<string>;
}

/** Keeps containerd's garbage collector away, where the service is reached through containerd. */
export const LABELS: Labels = { "containerd.io/gc.root": "suite" };

/** Where one check takes place: a service with nothing in it, and a folder for its mounts. Everything is taken away at the end. */
export class Ground implements AsyncDisposable {
  readonly service: SnapshotService;
  readonly work: string;
  readonly #subject: SuiteSubject;
  readonly #stack: DisposeStack;
  #count = 0;

  private constructor(subject: SuiteSubject, work: string, stack: DisposeStack) {
    this.service = subject.service;
    this.work = work;
    this.#subject = subject;
    this.#stack = stack;
  }

  /** Opens a service below a new temporary directory. */
  static async open(open: (root: string) => Promise<SuiteSubject>): Promise<Ground> {
    await using undo = new DisposeStack();
    const directory = await mkdtemp(join(tmpdir(), "sn-"));
    undo.defer(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }));
    const work = join(directory, "w");
    await mkdir(work);
    const subject = undo.use(await open(join(directory, "r")));
    return new Ground(subject, work, undo.move());
  }

  /** A name that was not used yet. */
  name(what: string): string {
    this.#count += 1;
    return `${what}-${this.#count}`;
  }

  /** Makes an active snapshot. */
  async prepare(key: string, parent = "", labels: Labels = LABELS): Promise<readonly Mount[]> {
    const outcome = await this.service.prepare(key, parent, labels);
    if (outcome.kind === "mounts") return outcome.mounts;
    throw new Error(`prepare of ${key} answered ${outcome.kind}, want mounts`);
  }

  /** Makes a committed snapshot on `parent` by mounting, changing, committing. */
  async layer(parent: string, change: Change): Promise<string> {
    if (parent === "" && this.#subject.base !== undefined) return await this.#subject.base(change);
    const [key, name] = [this.name("key"), this.name("layer")];
    await this.mounted(await this.prepare(key, parent), change);
    await this.service.commit(name, key, LABELS);
    return name;
  }

  /** Runs `work` on a place where these mounts are made. */
  async mounted<T>(
    mounts: readonly Mount[],
    work: (directory: string) => T | Promise<T>,
  ): Promise<T> {
    const target = join(this.work, this.name("at"));
    await mkdir(target);
    try {
      await mountAll(mounts, target);
      return await work(target);
    } finally {
      await unmountAll(target);
    }
  }

  /** Runs `work` on a view of a committed snapshot. */
  async viewed<T>(name: string, work: (directory: string) => T | Promise<T>): Promise<T> {
    const key = this.name("view");
    const mounts = await this.service.view(key, name, LABELS);
    try {
      return await this.mounted(mounts, work);
    } finally {
      await this.service.remove(key);
    }
  }

  /**
   * Makes a chain of layers, one for each change, and compares a view of each with a plain directory to which the changes so far were made; at last what a
   * container would see.
   * @returns the top's name.
   */
  async chain(...changes: readonly Change[]): Promise<string> {
    const flat = await this.flat();
    let parent = "";
    for (const change of changes) {
      parent = await this.layer(parent, change);
      change(flat);
      await this.viewed(parent, (directory) => assertSameTree(directory, flat));
    }
    const key = this.name("container");
    await this.mounted(await this.prepare(key, parent), (directory) =>
      assertSameTree(directory, flat),
    );
    await this.service.remove(key);
    return parent;
  }

  /** A plain directory. */
  async flat(): Promise<string> {
    const directory = join(this.work, this.name("flat"));
    await mkdir(directory);
    chmodSync(directory, 0o755);
    return directory;
  }

  /** Names of what the filters match, sorted. */
  async names(...filters: readonly string[]): Promise<readonly string[]> {
    const found = await this.list(...filters);
    return found.map(({ name }) => name).sort();
  }

  /** What the filters match. */
  async list(...filters: readonly string[]): Promise<readonly SnapshotInfo[]> {
    const found: SnapshotInfo[] = [];
    for await (const info of this.service.list(filters)) found.push(info);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}
