// Root file systems as containerd would mount them.
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openContainerd, type typesApi } from "@soci-ts/containerd-api";
import { type ContainerdNode, command, scanTree, type TreeEntry } from "@soci-ts/testkit";

/** A committed snapshot of a node. */
export interface SnapshotName {
  readonly namespace: string;
  readonly snapshotter: string;
  readonly chainId: string;
}

/** Mounts a view of a snapshot, or a container's writable one on top of it, does something with its directory, and takes it away. */
export async function withMounted<T>(
  node: ContainerdNode,
  { namespace, snapshotter, chainId, kind = "view" }: SnapshotName & { kind?: "view" | "active" },
  work: (directory: string) => Promise<T>,
): Promise<T> {
  await using containerd = openContainerd(node.socket, { namespace });
  const { snapshots } = containerd;
  const key = `${kind}-${randomUUID()}`;
  const target = join(node.root, "work", key);
  await mkdir(target);
  const request = { snapshotter, key, parent: chainId };
  const { mounts } = await (kind === "view" ? snapshots.view(request) : snapshots.prepare(request));
  try {
    await mountAll(mounts, target);
    return await work(target);
  } finally {
    await command("umount", ["-R", target]).catch(() => undefined); // it was not mounted
    await snapshots.remove({ snapshotter, key });
  }
}

/** Every entry of a snapshot's tree. A whiteout that hides nothing shows where a single layer is mounted; it is no file of the image. */
export async function scanSnapshot(
  node: ContainerdNode,
  snapshot: SnapshotName,
): Promise<TreeEntry[]> {
  const entries = await withMounted(node, snapshot, scanTree);
  return entries.filter(({ type, rdev }) => !(type === "char" && rdev === "0"));
}

async function mountAll(mounts: readonly typesApi.Mount[], target: string): Promise<void> {
  for (const { type, source, options } of mounts) {
    const isBind = type === "bind" || options.includes("rbind") || options.includes("bind");
    const kind = isBind ? [] : ["-t", type];
    await command("mount", [...kind, "-o", options.join(","), source, target]);
  }
}
