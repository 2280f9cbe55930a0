// What a daemon holds of the machine: nothing of it may be left when it is no longer needed.
import { readdir, readFile, readlink } from "node:fs/promises";
import { openContainerd } from "@soci-ts/containerd-api";
import { listLoopDevices } from "@soci-ts/linux";
import {
  type ContainerdNode,
  mountsBelow,
  processesNaming,
  type RunningSnapshotter,
} from "@soci-ts/testkit";

const WITHIN_MS = 30_000;

/** Mounts of layers and snapshots, and loop devices: all but the FUSE file system, which stays while the daemon does. */
export async function heldByLayers(root: string): Promise<readonly string[]> {
  const mounts = (await mountsBelow(root)).filter((point) => point !== `${root}/f`);
  const loops = listLoopDevices().filter(({ file }) => file.startsWith(`${root}/`));
  return [
    ...mounts.map((point) => `mount ${point}`),
    ...loops.map(({ path, file }) => `${path} of ${file}`),
  ];
}

/**
 * Has containerd collect its garbage now. It tells a snapshotter of a removal only then, and rests fifty times as long as the last collections took:
 * half a minute after some that a busy disk made slow. One that fails, because the daemon was not there yet, it does not try again by itself.
 */
export async function collectGarbage({ socket }: ContainerdNode): Promise<void> {
  await using containerd = openContainerd(socket, { namespace: "default" });
  await containerd.leases.create({ id: "garbage", labels: {} });
  await containerd.leases.delete({ id: "garbage", sync: true }, { timeoutMs: 60_000 });
}

/**
 * Takes every image away from a node whose containers are gone, and waits until the daemon holds nothing for layers; then drains it and waits
 * until nothing is left of it.
 * @throws Error naming what is left.
 */
export async function endCleanly(
  node: ContainerdNode,
  snapshotter: RunningSnapshotter,
): Promise<void> {
  const { root } = snapshotter;
  await using containerd = openContainerd(node.socket, { namespace: "k8s.io" });
  const { images } = await containerd.images.list({ filters: [] });
  for (const { name } of images) await containerd.images.delete({ name, sync: true });
  await untilNone("mounted by containerd", () => mountsBelow(node.root));
  await untilNone("held by layers", () => heldByLayers(root));
  await snapshotter.run("drain");
  await untilNone("left of the daemon", async () => [
    ...(await heldByLayers(root)),
    ...(await mountsBelow(root)).map((point) => `mount ${point}`),
    ...(await namespacesWith(root)),
    ...(await Promise.all((await processesNaming(`--root\0${root}\0`)).map(describe))),
  ]);
}

/** Processes of other mount namespaces that still have a daemon's mounts: these keep its FUSE connection alive. */
async function namespacesWith(root: string): Promise<readonly string[]> {
  const own = await readlink("/proc/self/ns/mnt");
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const space = await readlink(`/proc/${pid}/ns/mnt`).catch(() => own); // ended
    if (space === own) continue;
    const table = await readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => ""); // ended
    if (table.includes(`${root}/`)) found.push(`mounts in the namespace of process ${pid}`);
  }
  return found;
}

/** A process by what it was started as, and by what it does. */
async function describe(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "ended");
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => ""); // ended
  const state = /State:\s+(.*)/.exec(status)?.[1] ?? "ended";
  return `process ${pid} ${line.split("\0").filter(Boolean).at(-1)} (${state})`;
}

/** Waits until a list is empty. @throws Error with the list after half a minute. */
export async function untilNone(
  what: string,
  list: () => Promise<readonly string[]>,
): Promise<void> {
  const deadline = Date.now() + WITHIN_MS;
  for (;;) {
    const left = await list();
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`${what}: ${left.join(", ")}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
