// A root that an earlier version wrote, and a daemon on it.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Containerd, openContainerd } from "@soci-ts/containerd-api";
import {
  type BuiltImage,
  command,
  mountsBelow,
  processesNaming,
  pushLayout,
  removeTree,
  startChild,
  stopChild,
  writeRegistryHosts,
} from "@soci-ts/testkit";
import { REGISTRY } from "./node-fixture.ts";
import { until } from "./systemd-machine.ts";

/** Made by test/make-state.mjs as its name says: by commit 0e12337, version 0.1.0, root format 1. */
const ARCHIVE = fileURLToPath(new URL("../../testdata/state-1.tar.gz", import.meta.url));
const PROGRAM = fileURLToPath(
  new URL("../../../apps/snapshotter/bin/soci-snapshotter.js", import.meta.url),
);
/** Records in the root name files by absolute paths, so it has to be where it was made. */
const PLACE = "/tmp/soci-kept-state";
const SOCKET = join(PLACE, "s.sock");

/** An image that the root has layers of. */
export interface KeptImage {
  readonly name: string;
  readonly reference: string;
  readonly repository: string;
  readonly manifestDigest: string;
  /** Bottom first, as are chainIDs. */
  readonly layerDigests: readonly string[];
  readonly chain: readonly string[];
  /** Sums of all files, by path. */
  readonly files: Readonly<Record<string, string>>;
}

/** What is in the root: its images, and the keys of snapshots that can be mounted, by the image they stand on. */
export interface KeptState extends AsyncDisposable {
  readonly root: string;
  readonly images: readonly [KeptImage, KeptImage];
  /** Has a registry at `host:port` answer for the images' names. */
  useRegistry(host: string): Promise<void>;
  /** Starts a daemon on the root. @param program - of another version. */
  start(program?: string): Promise<KeptDaemon>;
  /** Runs one of the daemon's other processes to its end. */
  runRole(role: string): Promise<void>;
  /** Ends all processes, unmounts all, deletes the runtime directory: as a reboot does. */
  reboot(): Promise<void>;
}

/** A daemon on a kept root. */
export interface KeptDaemon {
  readonly snapshots: Containerd["snapshots"];
  run(...args: readonly string[]): Promise<string>;
  /** Mounts a snapshot as containerd would, and answers the sums of files of it, or what was said instead. */
  sums(key: string, paths: readonly string[]): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

/** Snapshots of the archive that can be mounted, by the name of the image below them. */
export const KEYS = { lazy: "k8s.io/10/container", whole: "default/13/view" } as const;

/** Unpacks the root where it was made. @throws if another process has one there. */
export async function unpackKeptState(): Promise<KeptState> {
  const root = join(PLACE, "root");
  if ((await processesNaming(`${PLACE}/`)).length > 0)
    throw new Error(`Cannot unpack ${ARCHIVE}: processes of another run use ${PLACE}`);
  await reboot(root);
  await removeTree(PLACE);
  await mkdir(PLACE);
  await command("tar", ["-C", PLACE, "-xzf", ARCHIVE]);
  await writeFile(
    join(PLACE, "config.toml"),
    `[registry]\nhosts_directory = "${PLACE}/hosts"\n[read]\ndeadline_ms = 6000\n`,
  );
  const { images } = JSON.parse(await readFile(join(PLACE, "state.json"), "utf8")) as KeptState;
  return {
    root,
    images,
    useRegistry: (host) => writeRegistryHosts(join(PLACE, "hosts"), { [REGISTRY]: host }),
    start: (program = PROGRAM) => startDaemon(root, program),
    runRole: async (role) => {
      await command(process.execPath, [PROGRAM, ...placeOptions(root), role]);
    },
    reboot: () => reboot(root),
    async [Symbol.asyncDispose]() {
      await reboot(root);
      await removeTree(PLACE);
    },
  };
}

/** Pushes the images of the root to a registry. */
export async function pushKeptImages(host: string, images: readonly KeptImage[]): Promise<void> {
  for (const { name, repository } of images) {
    const directory = join(PLACE, "layouts", name);
    const read = async (path: string): Promise<unknown> =>
      JSON.parse(await readFile(join(directory, path), "utf8"));
    const { manifests } = (await read("index.json")) as { manifests: [BuiltImage["manifest"]] };
    const [manifest] = manifests;
    const parts = (await read(join("blobs", manifest.digest.replace(":", "/")))) as BuiltImage;
    const { config, layers } = parts;
    await pushLayout({ directory, manifest, config, layers }, host, repository, "v1");
  }
}

function placeOptions(root: string): readonly string[] {
  return ["--root", root, "--address", SOCKET, "--config", join(PLACE, "config.toml")];
}

async function startDaemon(root: string, program: string): Promise<KeptDaemon> {
  const where = placeOptions(root);
  const log = openSync(join(PLACE, "log"), "a");
  const child = startChild(process.execPath, [program, ...where], {
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const containerd = openContainerd(SOCKET, { namespace: "default" });
  const run = async (...args: readonly string[]): Promise<string> =>
    (await command(process.execPath, [program, ...where, ...args])).stdout;
  await untilReady(child, containerd);
  return {
    snapshots: containerd.snapshots,
    run,
    sums: (key, paths) => sumsOf(containerd, key, paths),
    async stop() {
      await containerd[Symbol.asyncDispose]();
      await stopChild(child);
    },
  };
}

async function untilReady(child: ChildProcess, containerd: Containerd): Promise<void> {
  await until("the daemon answers", async () => {
    if (child.exitCode !== null)
      throw new Error(`it ended: ${(await readFile(join(PLACE, "log"), "utf8")).slice(-2000)}`);
    const answer = containerd.snapshots.stat({ key: "none" }).then(
      () => "ok",
      ({ code }: { code: string }) => code,
    );
    return (await answer) === "not_found";
  });
}

async function sumsOf(
  { snapshots }: Containerd,
  key: string,
  paths: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const { mounts } = await snapshots.mounts({ key });
  const [mount] = mounts;
  if (mount === undefined) throw new Error(`${key} has no mounts`);
  const target = join(PLACE, "mnt");
  await mkdir(target, { recursive: true });
  const options = mount.options.join(",");
  await command("mount", ["-t", mount.type, mount.source, target, "-o", options]);
  try {
    const sums = paths.map(async (path) => [path, await sumOf(join(target, path))] as const);
    return Object.fromEntries(await Promise.all(sums));
  } finally {
    await command("umount", [target]);
  }
}

/** By another process, past the page cache: of a file that can't be read, what the kernel says. */
async function sumOf(path: string): Promise<string> {
  const child = spawn("sha256sum", [path], { timeout: 60_000, env: { LC_ALL: "C" } });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
  const code = await new Promise((resolve) => child.once("close", resolve));
  return code === 0 ? output.slice(0, 64) : (output.trim().split(": ").at(-1) ?? "");
}

async function reboot(root: string): Promise<void> {
  const pids = await processesNaming(`--root\0${root}\0`);
  for (const pid of pids) process.kill(pid, "SIGKILL");
  for (const point of (await mountsBelow(PLACE)).filter(Boolean))
    await command("umount", ["-l", point]);
  await until("its processes are gone", async () => {
    return (await processesNaming(`--root\0${root}\0`)).length === 0;
  });
  const id = createHash("sha256").update(root).digest("hex").slice(0, 8);
  await rm(join("/run/soci-snapshotter", id), { recursive: true, force: true });
}

/** A digest of every name and byte below a directory. */
export async function treeSum(directory: string): Promise<string> {
  const hash = createHash("sha256");
  const names = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = names.map((entry) => [join(entry.parentPath, entry.name), entry.isFile()] as const);
  for (const [path, isFile] of files.sort(([one], [other]) => (one < other ? -1 : 1)))
    hash.update(`${path}\n`).update(isFile ? await readFile(path) : "");
  return hash.digest("hex");
}
