import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Fault,
  type FaultProxy,
  freePort,
  type RunningRegistry,
  type SlowLink,
  startEmbeddedRegistry,
  startFaultProxy,
  startSlowLink,
} from "@soci-ts/testkit";
import { type LayeredImage, pushLayeredImage } from "./layered-image.ts";
import { type Comparison, compareFile } from "./readers.ts";
import { type TestMount, TestNode } from "./test-node.ts";

/** What goes wrong with the nth request (from 0) for a layer's blob, which asks for the bytes of [start, end). */
export type Trouble = (
  ordinal: number,
  range: { readonly start: number; readonly end: number },
) => Fault | undefined;

/** What a comparison says where read(2) gave EIO. */
export const EIO: Comparison = "error: Input/output error";

/** A span that was wrong is not asked for again for three seconds; the rest is for a busy machine. */
const RECOVERY_MS = 10_000;

interface Parts {
  readonly work: string;
  readonly port: number;
  readonly registry: RunningRegistry;
  readonly link: SlowLink;
  readonly proxy: FaultProxy;
}

/** A registry behind a link and a proxy, an indexed image in it, and a node that can mount it. */
export class FaultBench implements AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly node: TestNode;
  readonly #parts: Parts;
  #registry: RunningRegistry | undefined;
  #image: LayeredImage | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#registry = parts.registry;
    this.proxy = parts.proxy;
    this.node = new TestNode(join(parts.work, "node"));
  }

  /**
   * @param files - those of the image, each in a layer of its own.
   * @param options - `indexedHere`: the node itself made the index, so that its store holds it.
   */
  static async open(
    files: readonly string[],
    options: { readonly indexedHere?: boolean } = {},
  ): Promise<FaultBench> {
    const work = await mkdtemp(join(tmpdir(), "soci-faults-"));
    const port = await freePort();
    const registry = await startEmbeddedRegistry({ root: join(work, "registry"), port });
    const link = await startSlowLink(registry.host, { rttMs: 10, megabitPerSecond: 100 });
    const proxy = await startFaultProxy(link.host);
    const bench = new FaultBench({ work, port, registry, link, proxy });
    try {
      const store = options.indexedHere === true ? bench.node.root : join(work, "builder");
      bench.#image = await pushLayeredImage({ directory: work, store, host: registry.host }, files);
      return bench;
    } catch (error) {
      await bench[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The registry's. */
  get port(): number {
    return this.#parts.port;
  }

  get image(): LayeredImage {
    if (this.#image === undefined) throw new Error("there is no image yet");
    return this.#image;
  }

  /** The image by way of link and proxy. */
  get reference(): string {
    return `${this.proxy.host}/${this.image.name}`;
  }

  /** The image with nothing in between. */
  get directReference(): string {
    return `127.0.0.1:${this.port}/${this.image.name}`;
  }

  async startRegistry(): Promise<void> {
    const { work, port } = this.#parts;
    this.#registry = await startEmbeddedRegistry({ root: join(work, "registry"), port });
  }

  async stopRegistry(): Promise<void> {
    await this.#registry?.[Symbol.asyncDispose]();
    this.#registry = undefined;
  }

  /** Puts troubles in force, by the file whose layer has them; each counts the requests for its own layer. */
  trouble(troubles: Readonly<Record<string, Trouble>>): void {
    const byLayer = new Map(
      Object.entries(troubles).map(([file, rule]) => [
        this.image.layerOf(file),
        { rule, ordinal: 0 },
      ]),
    );
    this.proxy.rule = ({ path, range }) => {
      const found = byLayer.get(/blobs\/(sha256:[0-9a-f]{64})$/.exec(path)?.[1] ?? "");
      if (found === undefined) return undefined;
      const [, from = "0", to = "Infinity"] = /bytes=(\d+)-(\d+)/.exec(range ?? "") ?? [];
      return found.rule(found.ordinal++, { start: Number(from), end: Number(to) + 1 });
    };
  }

  /** How many requests for a file's layer the proxy has seen. */
  requestsFor(file: string): number {
    const layer = this.image.layerOf(file);
    return this.proxy.requests.filter(({ path }) => path.includes(layer)).length;
  }

  /** Compares files with what they should be, all at the same time. */
  async compare(
    mount: TestMount,
    files: readonly string[],
    compareOne: typeof compareFile = compareFile,
  ): Promise<Record<string, Comparison>> {
    const results = await Promise.all(
      files.map(async (file) => {
        const mounted = join(mount.target, file);
        return [file, await compareOne(mounted, this.image.original(file))] as const;
      }),
    );
    return Object.fromEntries(results);
  }

  /** The same, again and again until it works or time is up. Wrong bytes end it at once. */
  compareUntilRight(
    mount: TestMount,
    files: readonly string[],
  ): Promise<Record<string, Comparison>> {
    const deadline = Date.now() + RECOVERY_MS;
    return this.compare(mount, files, async (mounted, original) => {
      for (;;) {
        const result = await compareFile(mounted, original);
        if (!result.startsWith("error") || Date.now() > deadline) return result;
        await pause(500);
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.proxy.rule = undefined;
    await this.node[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
    await this.#parts.link[Symbol.asyncDispose]();
    await this.stopRegistry();
    await rm(this.#parts.work, { recursive: true, force: true });
  }
}

/** Every one of these files with the same result. */
export function every(files: readonly string[], result: Comparison): Record<string, Comparison> {
  return Object.fromEntries(files.map((file) => [file, result]));
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
