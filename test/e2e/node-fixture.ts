// A node for the tests: containerd of some version, with the daemon beside it behind one of its doors, or with containerd's own overlayfs.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DisposeStack } from "@soci-ts/core";
import {
  type ContainerdNode,
  type ContainerdPrograms,
  findContainerds,
  hasProgram,
  pushLayout,
  type RunningSnapshotter,
  startContainerdNode,
  startSnapshotter,
  writeRegistryHosts,
} from "@soci-ts/testkit";
import { CACHE, imageLayout, type NodeImage, PAUSE } from "./node-images.ts";
import { soci } from "./soci-command.ts";

/** How lazy layers get into the kernel; `overlayfs` is containerd's own snapshotter, with no daemon. */
export type Door = "erofs" | "loop" | "fuse" | "auto" | "overlayfs";

/** The registry's name in references; each node finds it through hosts.toml. */
export const REGISTRY = "registry.test";

const LOG_CHARACTERS = 3000;

/** A node, and the daemon beside it. */
export interface LazyNode extends AsyncDisposable {
  readonly node: ContainerdNode;
  /** Not there behind the door `overlayfs`. */
  readonly snapshotter: RunningSnapshotter | undefined;
  /** Does some work; if it fails, what containerd and the daemon logged last goes to stderr. */
  watched<T>(work: () => Promise<T>): Promise<T>;
}

/** What the programs are for {@link startLazyNode}. */
export interface LazyNodeOptions {
  readonly programs: ContainerdPrograms;
  readonly door: Door;
  /** `host:port` where {@link REGISTRY} answers. */
  readonly registryHost: string;
  /** Other registries by name, with `host:port` of each. */
  readonly otherRegistries?: Readonly<Record<string, string>>;
  /** Lines of the daemon's table `[mount]`, besides the door. */
  readonly mountConfig?: readonly string[];
  /** Tables of the daemon's configuration, besides `[mount]` and `[registry]`. */
  readonly config?: readonly string[];
}

/** Every containerd to test with, or the reason why there is none. */
export async function containerdsForTests(): Promise<{
  readonly programs: readonly ContainerdPrograms[];
  readonly skip: string | false;
}> {
  if (process.getuid?.() !== 0) return { programs: [], skip: "containers need root" };
  const missing = ["containerd", "ctr", "runc", "docker-registry"].filter(
    (name) => !hasProgram(name),
  );
  if (missing.length > 0) return { programs: [], skip: `not installed: ${missing.join(", ")}` };
  try {
    return { programs: await findContainerds(CACHE), skip: false };
  } catch (error) {
    return { programs: [], skip: `no second containerd: ${(error as Error).message}` };
  }
}

/** Behind which doors to test with which containerd: the newest with all, the others with the first, since doors are no business of theirs. */
export function doorsToTest(
  versions: readonly ContainerdPrograms[],
  doors: readonly Door[],
): readonly { readonly programs: ContainerdPrograms; readonly door: Door }[] {
  const newest = versions.at(-1);
  return versions.flatMap((programs) =>
    (programs === newest ? doors : doors.slice(0, 1)).map((door) => ({ programs, door })),
  );
}

/** Starts daemon and containerd with fresh roots. */
export async function startLazyNode(options: LazyNodeOptions): Promise<LazyNode> {
  const { programs, door, registryHost } = options;
  const resources = new DisposeStack();
  try {
    const registryConfig = await mkdtemp(join(tmpdir(), "soci-hosts-"));
    resources.defer(() => rm(registryConfig, { recursive: true, force: true }));
    const registries = { ...options.otherRegistries, [REGISTRY]: registryHost };
    await writeRegistryHosts(registryConfig, registries);
    const common = { programs, registryConfig, sandboxImage: `${REGISTRY}/${PAUSE.name}:v1` };
    if (door === "overlayfs") {
      const node = resources.use(
        await startContainerdNode({ ...common, snapshotter: "overlayfs" }),
      );
      return lazyNode(resources, node, undefined);
    }
    const lines = [
      ...["[mount]", `door = "${door}"`, ...(options.mountConfig ?? [])],
      ...["[registry]", `hosts_directory = "${registryConfig}"`, ...(options.config ?? []), ""],
    ];
    const snapshotter = resources.use(await startSnapshotter(lines.join("\n")));
    const proxy = { socket: snapshotter.socket, root: snapshotter.root };
    const node = resources.use(
      await startContainerdNode({ ...common, snapshotter: "soci", proxy }),
    );
    return lazyNode(resources, node, snapshotter);
  } catch (error) {
    await resources[Symbol.asyncDispose]();
    throw error;
  }
}

function lazyNode(
  resources: DisposeStack,
  node: ContainerdNode,
  snapshotter: RunningSnapshotter | undefined,
): LazyNode {
  return {
    node,
    snapshotter,
    async watched(work) {
      try {
        return await work();
      } catch (error) {
        const logs = [await node.log(), (await snapshotter?.log()) ?? ""];
        for (const log of logs) process.stderr.write(`${log.slice(-LOG_CHARACTERS)}\n`);
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  };
}

/** An image, and the repository that it goes to; the image's name if it is not said. */
export interface Published {
  readonly image: NodeImage;
  readonly repository?: string;
}

/** Pushes images to a registry, under the tag `v1`; with a SOCI index beside each of them if `index` says so. */
export async function publish(
  host: string,
  images: readonly Published[],
  index: { readonly store: string; readonly minLayerBytes: number | undefined } | undefined,
): Promise<void> {
  for (const { image, repository = image.name } of images) {
    await pushLayout(await imageLayout(image), host, repository, "v1");
    if (index === undefined) continue;
    const { store, minLayerBytes } = index;
    const least = minLayerBytes === undefined ? [] : ["--min-layer-size", String(minLayerBytes)];
    await soci({ root: store }, "create", "--push", ...least, `${host}/${repository}:v1`);
  }
}
