import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DisposeStack, type LogFields, type Logger, sha256 } from "@soci-ts/core";
import { buildLayerIndex } from "@soci-ts/layer-index";
import { listLoopDevices, probeKernel, readMountTable, unmount } from "@soci-ts/linux";
import { ociLayoutImageSource } from "@soci-ts/soci";
import { openStore, type Store } from "@soci-ts/store";
import {
  type BuiltLayerBlob,
  scanTree,
  type TreeEntry,
  umociUnpack,
  writeLayout,
} from "@soci-ts/testkit";
import { type MountedImage, type MountImageOptions, mountImage } from "../mount-image.ts";
import { identifyProcess, type ProcessIdentity, processState } from "../process-identity.ts";
import type { ImageLayer } from "../ready-layer.ts";
import type { ServerCommand } from "../server-process.ts";
import { type UnmountedImage, unmountImage } from "../unmount-image.ts";

/** Why mounts can't be made here, or `false`: for the `skip` option of suites. */
export function mountObstacle(): string | false {
  const { sysAdmin, fuseDevice, fuse, overlay } = probeKernel();
  const missing = [sysAdmin, fuseDevice, fuse, overlay].find(({ state }) => state !== "ok");
  return missing === undefined ? false : `needs what is missing: ${missing.found}`;
}

/** How the tests start the serving process. */
export function testServer(): ServerCommand {
  const script = fileURLToPath(new URL("./serve.js", import.meta.url));
  return {
    argv: [process.execPath, "--enable-source-maps", script],
    environment: { PATH: "/usr/bin:/bin" },
  };
}

/** Layers of the image in a layout, bottom first; those at positions in `indexed` with an index of small spans. */
export async function layersOf(
  layout: string,
  indexed: (position: number) => boolean,
): Promise<{ readonly layers: readonly ImageLayer[]; readonly manifestDigest: string }> {
  const source = ociLayoutImageSource(layout);
  const { manifest, manifestDescriptor, config } = await source.resolve(undefined);
  const { diffIds } = await config();
  const layers: ImageLayer[] = [];
  for (const [at, descriptor] of manifest.layers.entries()) {
    const diffId = diffIds[at]!;
    if (!indexed(at)) {
      layers.push({ descriptor, diffId });
      continue;
    }
    const stream = source.openBlob(descriptor).stream(0, descriptor.size);
    const { index } = await buildLayerIndex(stream, { compression: "gzip", spanSizeBytes: 65_536 });
    layers.push({
      descriptor,
      diffId,
      indexed: { index: index!, ztocDigest: sha256(Buffer.from(`ztoc ${descriptor.digest}`)) },
    });
  }
  return { layers, manifestDigest: manifestDescriptor.digest };
}

/** A scratch directory with a store, a place to mount on and a runtime directory of its own; leaves nothing behind. */
export class Fixture implements AsyncDisposable {
  readonly directory: string;
  readonly target: string;
  readonly runtimeRoot: string;
  readonly store: Store;
  readonly logged: { readonly message: string; readonly fields: LogFields }[] = [];
  readonly #stack: DisposeStack;
  readonly #seen = new Map<number, ProcessIdentity | undefined>();

  private constructor(directory: string, store: Store, stack: DisposeStack) {
    this.directory = directory;
    this.target = join(directory, "mnt");
    this.runtimeRoot = join("/run", `s${directory.slice(-6)}`);
    this.store = store;
    this.#stack = stack;
  }

  static async open(): Promise<Fixture> {
    const directory = await mkdtemp(join(tmpdir(), "soci-mount-"));
    const stack = new DisposeStack();
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const store = stack.use(await openStore(join(directory, "root")));
    const fixture = new Fixture(directory, store, stack);
    await mkdir(fixture.target);
    stack.defer(() => fixture.#unmountAll());
    return fixture;
  }

  get layout(): string {
    return join(this.directory, "layout");
  }

  async writeImage(layers: readonly BuiltLayerBlob[]): Promise<void> {
    await rm(this.layout, { recursive: true, force: true });
    await writeLayout(this.layout, layers);
  }

  async options(indexed: (position: number) => boolean): Promise<MountImageOptions> {
    const { layers, manifestDigest } = await layersOf(this.layout, indexed);
    return {
      store: this.store,
      target: this.target,
      reference: "test.example/image:latest",
      manifestDigest,
      layers,
      blobs: ociLayoutImageSource(this.layout),
      source: this.layout,
      server: testServer(),
      runtimeRoot: this.runtimeRoot,
      logger: this.logger,
    };
  }

  async mount(
    overrides: Partial<MountImageOptions> = {},
    indexed: (position: number) => boolean = () => true,
  ): Promise<MountedImage> {
    return await mountImage({ ...(await this.options(indexed)), ...overrides });
  }

  async unmount(): Promise<UnmountedImage> {
    return await unmountImage({ store: this.store, target: this.target, logger: this.logger });
  }

  /** The same image unpacked by umoci. */
  async unpacked(): Promise<TreeEntry[]> {
    const into = join(this.directory, "unpacked");
    await rm(into, { recursive: true, force: true });
    return await scanTree(await umociUnpack(this.layout, into));
  }

  /** Loop devices over files of this fixture's mounts. Of a mount that is detached, the kernel tells only the path inside. */
  loopDevices(): readonly string[] {
    return listLoopDevices()
      .filter(({ file }) => this.#isOurs(file) || /^\/[dm]\d+$/.test(file))
      .map(({ path }) => path);
  }

  /** Everything that a mount might have left: mounts, loop devices, serving processes, records, runtime directories. Empty is right. */
  leftovers(): readonly string[] {
    const mounts = readMountTable().filter(({ mountPoint }) => this.#isOurs(mountPoint));
    const records = readdirSync(join(this.directory, "root", "mounts")).filter(
      (name) => name !== "door.json",
    );
    const runtime = existsSync(this.runtimeRoot) ? readdirSync(this.runtimeRoot) : [];
    return [
      ...mounts.map(({ mountPoint }) => `mount ${mountPoint}`),
      ...this.loopDevices().map((path) => `loop device ${path}`),
      ...records.map((name) => `record ${name}`),
      ...runtime.map((name) => `runtime ${name}`),
      ...this.serverPids().map((pid) => `process ${pid}`),
    ];
  }

  /** Living serving processes of this fixture. */
  serverPids(): readonly number[] {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    for (const pid of pids.map(Number)) {
      if (!this.#seen.has(pid) && this.#isServer(pid)) this.#seen.set(pid, identifyProcess(pid));
    }
    // One that is dying has no command line any more but is not gone.
    return [...this.#seen.keys()].filter((pid) => {
      const identity = this.#seen.get(pid);
      return identity !== undefined && processState(identity) === "alive";
    });
  }

  #isServer(pid: number): boolean {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return command.includes("serve.js") && command.includes(this.directory);
    } catch {
      return false;
    }
  }

  get logger(): Logger {
    const take = (message: string, fields: LogFields = {}): void => {
      this.logged.push({ message, fields });
    };
    const logger: Logger = {
      debug: () => {},
      info: take,
      warn: take,
      error: take,
      child: () => logger,
    };
    return logger;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  async #unmountAll(): Promise<void> {
    for (const { mountPoint } of readMountTable()
      .filter((info) => this.#isOurs(info.mountPoint))
      .reverse()) {
      await unmount(mountPoint, { detach: true });
    }
    for (const pid of this.serverPids()) process.kill(pid, "SIGKILL");
    if (!existsSync(this.runtimeRoot)) return;
    execFileSync("find", [this.runtimeRoot, "-mindepth", "1", "-type", "d", "-delete"]);
    rmdirSync(this.runtimeRoot);
  }

  #isOurs(mountPoint: string): boolean {
    return [this.runtimeRoot, this.directory].some((path) => mountPoint.startsWith(`${path}/`));
  }
}
