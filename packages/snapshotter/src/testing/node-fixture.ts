import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Digest, DisposeStack, sha256 } from "@soci-ts/core";
import { listLoopDevices, readMountTable, unmount } from "@soci-ts/linux";
import { parseReference } from "@soci-ts/oci";
import { RegistryClient } from "@soci-ts/registry-client";
import { createIndex, ociLayoutImageSource, pushIndex } from "@soci-ts/soci";
import { openStore } from "@soci-ts/store";
import {
  type BuiltLayerBlob,
  pushLayout,
  type RunningRegistry,
  removeTree,
  startEmbeddedRegistry,
  writeLayout,
} from "@soci-ts/testkit";
import type { LayerRequest } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import type { LazyNodeLayers, NodeLayersOptions } from "../node/node-layers.ts";
import { type NodePaths, nodePaths } from "../node/node-paths.ts";
import { nodeProcesses, openTestLayers } from "./node-processes.ts";
import { until } from "./temporary.ts";

/** An image in a registry. */
export interface PushedImage {
  readonly reference: string;
  /** The OCI layout that it was pushed from. */
  readonly layout: string;
  /** What containerd would ask for, bottom first. */
  readonly requests: readonly LayerRequest[];
}

/** Pushes images to a registry of its own, some of them with an index of small spans. */
export class TestImages implements AsyncDisposable {
  readonly registry: RunningRegistry;
  readonly #directory: string;
  readonly #stack: DisposeStack;
  readonly #client: RegistryClient;
  #count = 0;

  private constructor(directory: string, registry: RunningRegistry, stack: DisposeStack) {
    this.#directory = directory;
    this.registry = registry;
    this.#client = stack.use(new RegistryClient({ plainHttp: true }));
    this.#stack = stack;
  }

  static async open(): Promise<TestImages> {
    await using undo = new DisposeStack();
    const directory = await mkdtemp(join(tmpdir(), "soci-images-"));
    undo.defer(() => rm(directory, { recursive: true, force: true }));
    const registry = undo.use(await startEmbeddedRegistry());
    return new TestImages(directory, registry, undo.move());
  }

  /**
   * @param options - `indexed`: with an index of all layers, and lists of spans for these files; `host`: what the registry is called, if not by
   *   its own address.
   */
  async push(
    layers: readonly BuiltLayerBlob[],
    options: {
      readonly indexed?: boolean;
      readonly prefetchFiles?: readonly string[];
      readonly host?: string;
    } = {},
  ): Promise<PushedImage> {
    this.#count += 1;
    const repository = `test/image-${this.#count}`;
    const layout = join(this.#directory, `layout-${this.#count}`);
    const image = await writeLayout(layout, layers);
    await pushLayout(image, this.registry.host, repository, "v1");
    const direct = `${this.registry.host}/${repository}:v1`;
    if (options.indexed === true) await this.#index(layout, direct, options.prefetchFiles);
    const reference = `${options.host ?? this.registry.host}/${repository}:v1`;
    const chain = chainIdsOf(layers.map(({ diffId }) => diffId));
    const manifestDigest = image.manifest.digest as Digest;
    const requests = image.layers.map(({ digest }, at) => ({
      imageReference: reference,
      manifestDigest,
      layerDigest: digest as Digest,
      chainId: chain[at] ?? "",
    }));
    return { reference, layout, requests };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  async #index(
    layout: string,
    reference: string,
    prefetchFiles: readonly string[] | undefined,
  ): Promise<void> {
    await using store = await openStore(join(this.#directory, "store"));
    await createIndex({
      source: ociLayoutImageSource(layout),
      store,
      prefetchFiles,
      minLayerSizeBytes: 0,
      spanSizeBytes: 65_536,
    });
    await pushIndex({ client: this.#client, store, reference: parseReference(reference) });
  }
}

/** ChainIDs from the bottom up. */
function chainIdsOf(diffIds: readonly string[]): readonly string[] {
  const ids: string[] = [];
  for (const diffId of diffIds) {
    const below = ids.at(-1);
    ids.push(below === undefined ? diffId : sha256(Buffer.from(`${below} ${diffId}`)));
  }
  return ids;
}

/** A daemon's root for one test; ends every process, mount and directory of it. */
export class TestNode implements AsyncDisposable {
  readonly root: string;
  readonly paths: NodePaths;
  readonly #directory: string;
  readonly #opened = new DisposeStack();

  private constructor(directory: string) {
    this.#directory = directory;
    this.root = join(directory, "r");
    this.paths = nodePaths(this.root);
  }

  static async open(): Promise<TestNode> {
    return new TestNode(await mkdtemp(join(tmpdir(), "soci-n-")));
  }

  /** Opens the node's layers; closed with the node at the latest. */
  async layers(door: Door, options: Partial<NodeLayersOptions> = {}): Promise<LazyNodeLayers> {
    return this.#opened.use(await openTestLayers(this.root, door, options));
  }

  /** An empty directory to mount at. */
  async target(name: string): Promise<string> {
    const path = join(this.#directory, name);
    await mkdir(path, { recursive: true });
    return path;
  }

  /** Fails if a node that ended has left anything: mounts, loop devices, processes, mount points. Processes may take a moment to be gone. */
  async isClean(): Promise<void> {
    const isEmpty = (): boolean => this.#leftovers().length === 0;
    await until("nothing is left", isEmpty, 3000).catch(() => {}); // what is left is said below
    assert.deepEqual(this.#leftovers(), []);
  }

  #leftovers(): readonly string[] {
    const loops = listLoopDevices().filter(({ file }) => file.startsWith(this.#directory));
    return [
      ...this.#mountPoints().map((path) => `mount ${path}`),
      ...loops.map(({ path }) => `loop device ${path}`),
      ...nodeProcesses(this.root).map((pid) => `process ${pid}`),
      ...namesIn(this.paths.mounts).map((name) => `mount point ${name}`),
      ...namesIn(this.paths.incoming).map((name) => `incoming ${name}`),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#opened[Symbol.asyncDispose]();
    } finally {
      for (const path of [...this.#mountPoints()].reverse()) await unmount(path, { detach: true });
      const kill = (): boolean => {
        for (const pid of nodeProcesses(this.root)) process.kill(pid, "SIGKILL");
        return nodeProcesses(this.root).length === 0;
      };
      await until("the node's processes end", kill);
      await rm(this.paths.runtime, { recursive: true, force: true });
      await removeTree(this.#directory);
    }
  }

  #mountPoints(): readonly string[] {
    const points = readMountTable().map(({ mountPoint }) => mountPoint);
    return points.filter((path) => path.startsWith(`${this.#directory}/`));
  }
}

function namesIn(directory: string): readonly string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
