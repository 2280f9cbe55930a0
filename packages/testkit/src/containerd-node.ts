import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { containerdConfig1, containerdConfig2 } from "./containerd-config.ts";
import type { ContainerdPrograms } from "./containerd-programs.ts";
import { makeProgramFolder, removeProgramFolder } from "./leftovers.ts";
import { command, startChild, stopChild } from "./process.ts";

/** What a node is made of. */
export interface ContainerdNodeOptions {
  readonly programs: ContainerdPrograms;
  /** Which snapshotter CRI and {@link ContainerdNode.ctr} use: containerd's own `overlayfs`, or one with a socket. */
  readonly snapshotter: string;
  readonly proxy?: { readonly socket: string; readonly root: string };
  /** Reference of the image that pod sandboxes run. */
  readonly sandboxImage: string;
  /** Folder of `hosts.toml` files, see {@link writeRegistryHosts}. */
  readonly registryConfig: string;
}

/** A containerd with CRI, folders and socket of its own; no network but the host's. */
export interface ContainerdNode extends AsyncDisposable {
  readonly socket: string;
  readonly snapshotter: string;
  readonly pid: number;
  /** Folder of all its files; tests may put theirs below `work/`. */
  readonly root: string;
  /** Runs `ctr` in a namespace and answers what it printed. */
  ctr(namespace: string, ...args: readonly string[]): Promise<string>;
  /** What containerd has logged. */
  log(): Promise<string>;
}

/** Starts a node. When it is disposed of, its containers are killed, its mounts and files are gone. */
export async function startContainerdNode(options: ContainerdNodeOptions): Promise<ContainerdNode> {
  const root = await makeProgramFolder("soci-node");
  const socket = join(root, "c.sock");
  await mkdir(join(root, "work"));
  const { programs, snapshotter } = options;
  const write = programs.version.startsWith("1.") ? containerdConfig1 : containerdConfig2;
  const config = write({ root, socket, ...options });
  await writeFile(join(root, "config.toml"), config);
  const logFile = join(root, "containerd.log");
  const output = openSync(logFile, "a");
  const child = startChild(
    programs.containerd,
    ["--config", join(root, "config.toml"), "--log-level", "warn"],
    {
      stdio: ["ignore", output, output],
      env: { PATH: programs.searchPath, HOME: root },
    },
  );
  closeSync(output);
  const ctr = async (namespace: string, ...args: readonly string[]): Promise<string> => {
    const { stdout } = await command(
      programs.ctr,
      ["--address", socket, "--namespace", namespace, ...args],
      { env: { PATH: programs.searchPath, HOME: root } },
    );
    return stdout;
  };
  const close = async (): Promise<void> => {
    await stopChild(child);
    await removeProgramFolder(root); // shims and what runs in containers outlive containerd
  };
  const log = (): Promise<string> => readFile(logFile, "utf8");
  try {
    await answering(
      () => ctr("default", "plugins", "ls"),
      () => child.exitCode === null,
    );
  } catch (error) {
    const told = (await log()).slice(-4000);
    await close();
    throw new Error(`Cannot start containerd ${programs.version}: ${told}`, { cause: error });
  }
  return {
    socket,
    snapshotter,
    pid: child.pid ?? 0,
    root,
    ctr,
    log,
    [Symbol.asyncDispose]: close,
  };
}

/** Writes `hosts.toml` files that say at which `host:port` of the loopback registries of these names answer, with plain HTTP. */
export async function writeRegistryHosts(
  folder: string,
  registries: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, host] of Object.entries(registries)) {
    await mkdir(join(folder, name), { recursive: true });
    await writeFile(
      join(folder, name, "hosts.toml"),
      `server = "http://${host}"\n[host."http://${host}"]\n  capabilities = ["pull", "resolve"]\n`,
    );
  }
}

async function answering(attempt: () => Promise<unknown>, isAlive: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (Date.now() > deadline || !isAlive()) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
