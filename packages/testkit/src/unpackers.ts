import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, startChild, stopChild } from "./process.ts";

/** Unpacks a layout's image with umoci and answers the root file system's folder. */
export async function umociUnpack(layout: string, directory: string): Promise<string> {
  await command("umoci", ["unpack", "--image", `${layout}:latest`, "--keep-dirlinks", directory]);
  return join(directory, "rootfs");
}

/** A containerd of its own, with its own folders and socket. */
export interface RunningContainerd extends AsyncDisposable {
  readonly socket: string;
  ctr(...args: string[]): Promise<string>;
  /** Imports a layout's image, unpacks it with containerd's overlayfs snapshotter, mounts it read-only. */
  mountLayout(layout: string, target: string): Promise<void>;
}

/** Starts Debian's containerd for a test. */
export async function startContainerd(): Promise<RunningContainerd> {
  const root = await mkdtemp(join(tmpdir(), "soci-ctrd-"));
  const config = join(root, "config.toml");
  const socket = join(root, "c.sock");
  await writeFile(
    config,
    [
      "version = 2",
      `root = "${root}/root"`,
      `state = "${root}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      "[grpc]",
      `  address = "${socket}"`,
      "",
    ].join("\n"),
  );
  const child = startChild("containerd", ["--config", config, "--log-level", "error"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ctr = async (...args: string[]): Promise<string> =>
    (await command("ctr", ["--address", socket, "--namespace", "test", ...args])).stdout;
  const imageNames = async (): Promise<string[]> =>
    (await ctr("images", "ls", "-q")).trim().split("\n");
  const mounts: string[] = [];
  await until(() => ctr("version"));
  return {
    socket,
    ctr,
    async mountLayout(layout, target) {
      const archive = join(root, "image.tar");
      await command("tar", [
        "--create",
        "--directory",
        layout,
        "--file",
        archive,
        "oci-layout",
        "index.json",
        "blobs",
      ]);
      const before = new Set(await imageNames());
      const base = `test/image-${mounts.length}`;
      await ctr("images", "import", "--base-name", base, "--snapshotter", "overlayfs", archive);
      const image = (await imageNames()).find((name) => !before.has(name));
      if (image === undefined) throw new Error(`containerd imported no image from ${layout}`);
      await mkdir(target, { recursive: true });
      await ctr("images", "mount", "--snapshotter", "overlayfs", image, target);
      mounts.push(target);
    },
    async [Symbol.asyncDispose]() {
      for (const target of mounts) await command("umount", ["-l", target]).catch(() => undefined);
      await stopChild(child);
      await detachBelow(root);
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function until(attempt: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function detachBelow(folder: string): Promise<void> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  const points = table.split("\n").map((line) => line.split(" ")[4] ?? "");
  for (const point of points.reverse()) {
    if (point.startsWith(`${folder}/`))
      await command("umount", ["-l", point]).catch(() => undefined);
  }
}
