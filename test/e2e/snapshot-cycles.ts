// Snapshots as containerd's clients use them.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Containerd, openContainerd, type typesApi } from "@soci-ts/containerd-api";
import { type MountFlag, mount, unmount } from "@soci-ts/linux";
import type { ContainerdNode } from "@soci-ts/testkit";
import { startReader } from "./readers.ts";

/** A snapshot that is mounted. */
export interface MountedSnapshot {
  readonly key: string;
  readonly target: string;
}

const FLAGS: Readonly<Record<string, readonly MountFlag[]>> = {
  ro: ["ro"],
  rw: [],
  bind: ["bind"],
  rbind: ["bind", "rec"],
};

/** Makes, mounts and takes away snapshots of one chain. */
export class SnapshotCycles implements AsyncDisposable {
  readonly #containerd: Containerd;
  readonly #snapshotter: string;
  readonly #directory: string;
  readonly #parent: string;

  private constructor(
    containerd: Containerd,
    { snapshotter }: ContainerdNode,
    directory: string,
    parent: string,
  ) {
    this.#containerd = containerd;
    this.#snapshotter = snapshotter;
    this.#directory = directory;
    this.#parent = parent;
  }

  /** @param directory - where snapshots are mounted. The chain is that of the image with most layers. */
  static async open(node: ContainerdNode, directory: string): Promise<SnapshotCycles> {
    const { snapshotter } = node;
    const containerd = openContainerd(node.socket, { namespace: "k8s.io" });
    const parents = new Map<string, string>();
    for await (const { info } of containerd.snapshots.list({ snapshotter }))
      for (const { name, parent, kind } of info)
        if (kind === "COMMITTED") parents.set(name, parent);
    const depth = (name: string): number => {
      const parent = parents.get(name) ?? "";
      return parent === "" ? 1 : 1 + depth(parent);
    };
    const [deepest] = [...parents.keys()].sort((a, b) => depth(b) - depth(a));
    if (deepest === undefined) throw new Error("there is no snapshot");
    return new SnapshotCycles(containerd, node, directory, deepest);
  }

  /** Makes a snapshot, every other one writable, and mounts it. */
  async start(ordinal: number): Promise<MountedSnapshot> {
    const key = `test/${ordinal}/cycle`;
    const target = join(this.#directory, String(ordinal));
    const snapshotter = this.#snapshotter;
    // Else containerd's garbage collection takes it for one that nobody needs.
    const labels = { "containerd.io/gc.root": "now" };
    const request = { snapshotter, key, parent: this.#parent, labels };
    const { snapshots } = this.#containerd;
    if (ordinal % 2 === 0) await snapshots.prepare(request);
    else await snapshots.view(request);
    const { mounts } = await snapshots.mounts({ snapshotter, key });
    await mkdir(target, { recursive: true });
    for (const one of mounts) await mountAs(one, target);
    return { key, target };
  }

  async end({ key, target }: MountedSnapshot): Promise<void> {
    await unmount(target);
    await this.#containerd.snapshots.remove({ snapshotter: this.#snapshotter, key });
  }

  /** How many snapshots there are. */
  async count(): Promise<number> {
    let count = 0;
    for await (const { info } of this.#containerd.snapshots.list({
      snapshotter: this.#snapshotter,
    }))
      count += info.length;
    return count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containerd[Symbol.asyncDispose]();
  }
}

/** SHA-256 of a file in a mounted snapshot. */
export async function sumInSnapshot({ target }: MountedSnapshot, path: string): Promise<string> {
  const { stdout, stderr } = await startReader("sha256sum", join(target, path)).result;
  return stdout.slice(0, 64) || stderr;
}

async function mountAs({ type, source, options }: typesApi.Mount, target: string): Promise<void> {
  const flags = options.flatMap((option) => FLAGS[option] ?? []);
  const data = options.filter((option) => FLAGS[option] === undefined).join(",");
  await mount({ type, source, target, flags, data });
}
