import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openContainerd } from "@soci-ts/containerd-api";
import { DisposeStack } from "@soci-ts/core";
import { buildLayerIndex, encodeZtoc } from "@soci-ts/layer-index";
import {
  type BuiltLayerBlob,
  buildTar,
  freePort,
  gzipLayer,
  type RunningSnapshotter,
  startSnapshotter,
} from "@soci-ts/testkit";
import { chainIdOf } from "./node-pull.ts";
import { type Comparison, compareFile } from "./readers.ts";
import { type ScriptedImage, ScriptedRegistry } from "./scripted-registry.ts";

/** The files of one layer, by name. */
export type LayerFiles = Readonly<Record<string, Uint8Array>>;

/** An image in the scripted registry, and what its layers hold. */
export interface FaultImage {
  readonly scripted: ScriptedImage;
  readonly layers: readonly BuiltLayerBlob[];
  readonly files: readonly LayerFiles[];
}

/** An image whose layers are mounted one by one, with no overlay above them. */
export interface MountedFaultImage extends AsyncDisposable {
  readonly reference: string;
  readonly image: FaultImage;
  /** Where a file is mounted. Only other processes may look there. */
  pathOf(file: string): string;
  /** Where the same bytes are, outside of the image. */
  original(file: string): string;
  digestOf(file: string): string;
  /** Reads files in other processes, all at once, and compares them byte by byte. */
  compare(...files: readonly string[]): Promise<Readonly<Record<string, Comparison>>>;
  /** The same until there are no errors any more, or time is up. */
  compareUntilRead(...files: readonly string[]): Promise<Readonly<Record<string, Comparison>>>;
}

/** What a comparison says where read(2) gave EIO. */
export const EIO: Comparison = "error: Input/output error";

/** What could not be had is not asked for again for three seconds, and a token or mirror may rest; the rest is for a busy machine. */
const RECOVERY_MS = 45_000;

const SPAN_BYTES = 65_536;
const LOG_CHARACTERS = 3000;

/** A daemon, and a registry in this process that it reads from, under names that the test gives to hosts. */
export class FaultNode implements AsyncDisposable {
  readonly registry: ScriptedRegistry;
  readonly daemon: RunningSnapshotter;
  readonly directory: string;
  readonly #stack: DisposeStack;
  readonly #metricsPort: number;
  #count = 0;

  private constructor(parts: {
    readonly registry: ScriptedRegistry;
    readonly daemon: RunningSnapshotter;
    readonly directory: string;
    readonly metricsPort: number;
    readonly stack: DisposeStack;
  }) {
    this.registry = parts.registry;
    this.daemon = parts.daemon;
    this.directory = parts.directory;
    this.#metricsPort = parts.metricsPort;
    this.#stack = parts.stack;
  }

  /** @param config - TOML after the sections `mount`, `registry`, `metrics` and `credentials`, whose file is `docker.json` of {@link directory}. */
  static async open(door: string, config: string): Promise<FaultNode> {
    await using undo = new DisposeStack();
    const directory = await mkdtemp(join(tmpdir(), "soci-faulty-"));
    undo.defer(() => rm(directory, { recursive: true, force: true }));
    const registry = undo.use(await ScriptedRegistry.start());
    const metricsPort = await freePort();
    const text = [
      // Through FUSE, where checksums are compared; and nothing but what is read is fetched, or given up.
      `[mount]\ndoor = "${door}"\nlocal = "off"\nidle_release_ms = 1000`,
      '[hydrate]\nmode = "off"\n[cache]\nmin_free_bytes = 0',
      `[registry]\nhosts_directory = "${join(directory, "hosts")}"`,
      `[metrics]\nlisten = "127.0.0.1:${metricsPort}"`,
      `[credentials]\ndocker_config_files = ["${join(directory, "docker.json")}"]`,
      config,
    ].join("\n");
    await mkdir(join(directory, "hosts"));
    const daemon = undo.use(await startSnapshotter(text));
    const stack = undo.move();
    return new FaultNode({ registry, daemon, directory, metricsPort, stack });
  }

  /** Says where a registry's name leads: to these hosts (`127.0.0.1:PORT`) in turn, the last of which is its server. */
  async nameHosts(name: string, ...hosts: readonly string[]): Promise<void> {
    const folder = join(this.directory, "hosts", name);
    const capabilities = 'capabilities = ["pull", "resolve"]';
    const sections = hosts
      .slice(0, -1)
      .map((host) => `[host."http://${host}"]\n  ${capabilities}\n`);
    await mkdir(folder, { recursive: true });
    const text = `server = "http://${hosts.at(-1)}"\n${sections.join("")}`;
    await writeFile(join(folder, "hosts.toml"), text);
  }

  /** Puts an image into the registry, with an index of small spans or with none. */
  async put(
    files: readonly LayerFiles[],
    options: { readonly isIndexed?: boolean } = {},
  ): Promise<FaultImage> {
    this.#count += 1;
    const layers = await Promise.all(
      files.map(async (content) =>
        gzipLayer(
          await buildTar([
            // Else the layer would be another one above other layers.
            { name: "./", type: "directory", mode: 0o755 },
            ...Object.entries(content).map(([name, bytes]) => ({
              ...{ name, content: bytes, mode: 0o755 },
            })),
          ]),
        ),
      ),
    );
    const scripted = this.registry.putImage(`v${this.#count}`, layers);
    if (options.isIndexed !== false) {
      this.registry.putIndex(scripted, await Promise.all(layers.map(ztocOf)));
    }
    return { scripted, layers, files };
  }

  /** Asks for an image's layers as containerd does, and for mounts of all of them. Fails if one is not lazy, or not streamed. */
  async mount(image: FaultImage, name: string): Promise<MountedFaultImage> {
    this.#count += 1;
    const key = `view-${this.#count}`;
    const reference = `${name}:${this.#count}`;
    await using client = openContainerd(this.daemon.socket, { namespace: "k8s.io" });
    const chain = await this.#prepare(image, reference);
    const { mounts } = await client.snapshots.view({
      snapshotter: "soci",
      key,
      parent: chain.at(-1) ?? "",
    });
    const originals = await this.#writeOriginals(image, key);
    const remove = (): Promise<void> => this.#remove(key, chain);
    const [mount] = mounts;
    const lowers = mount?.options?.find((it) => it.startsWith("lowerdir="))?.slice(9);
    const directories = (lowers ?? mount?.source ?? "").split(":").reverse();
    return mounted({ image, reference, originals, directories, remove });
  }

  /** A metric's value, summed over its labels. */
  async metric(name: string): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`);
    const lines = (await answer.text()).split("\n");
    const values = lines.filter((line) => new RegExp(`^${name}[ {]`).test(line));
    return values.reduce((total, line) => total + Number(line.split(" ").at(-1)), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  /** @returns names of the snapshots, bottom first. */
  async #prepare(image: FaultImage, reference: string): Promise<readonly string[]> {
    await using client = openContainerd(this.daemon.socket, { namespace: "k8s.io" });
    const diffIds = image.layers.map(({ diffId }) => diffId);
    const names: string[] = [];
    for (const at of diffIds.keys()) {
      const chainId = chainIdOf(diffIds.slice(0, at + 1));
      const labels = {
        "containerd.io/snapshot.ref": chainId,
        "containerd.io/snapshot/cri.image-ref": reference,
        "containerd.io/snapshot/cri.manifest-digest": image.scripted.manifest.digest,
        "containerd.io/snapshot/cri.layer-digest": image.scripted.layers[at]?.digest ?? "",
        "containerd.io/snapshot/cri.image-layers": image.scripted.layers
          .slice(at)
          .map(({ digest }) => digest)
          .join(","),
      };
      const parent = names.at(-1) ?? "";
      const request = { snapshotter: "soci", key: `extract-${reference}-${at}`, parent, labels };
      const outcome = await client.snapshots.prepare(request).then(
        () => "it is left to containerd",
        (error: Error) => error.message,
      );
      const name = /target snapshot "(.+)": already exists/.exec(outcome)?.[1];
      if (name === undefined) {
        const log = (await this.daemon.log()).slice(-LOG_CHARACTERS);
        throw new Error(`Cannot prepare layer ${at}: ${outcome}; ${log}`);
      }
      names.push(name);
    }
    return names;
  }

  async #remove(key: string, chain: readonly string[]): Promise<void> {
    await using client = openContainerd(this.daemon.socket, { namespace: "k8s.io" });
    for (const each of [key, ...[...chain].reverse()]) {
      await client.snapshots.remove({ snapshotter: "soci", key: each });
    }
  }

  async #writeOriginals({ files }: FaultImage, key: string): Promise<string> {
    const directory = join(this.directory, key);
    await mkdir(directory);
    for (const [name, bytes] of files.flatMap((layer) => Object.entries(layer))) {
      await writeFile(join(directory, name), bytes);
    }
    return directory;
  }
}

async function ztocOf({ blob }: BuiltLayerBlob): Promise<Uint8Array> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield blob;
  }
  const options = { compression: "gzip", spanSizeBytes: SPAN_BYTES } as const;
  const { index } = await buildLayerIndex(stream(), options);
  if (index === undefined) throw new Error("the layer can't be indexed");
  return encodeZtoc(index);
}

function mounted(parts: {
  readonly image: FaultImage;
  readonly reference: string;
  readonly originals: string;
  readonly directories: readonly string[];
  readonly remove: () => Promise<void>;
}): MountedFaultImage {
  const { image, reference, originals, directories, remove } = parts;
  const layerOf = (file: string): number => image.files.findIndex((it) => Object.hasOwn(it, file));
  const pathOf = (file: string): string => join(directories[layerOf(file)] ?? "", file);
  const original = (file: string): string => join(originals, file);
  const one = async (file: string): Promise<readonly [string, Comparison]> => [
    file,
    await compareFile(pathOf(file), original(file)),
  ];
  const patient = async (file: string): Promise<readonly [string, Comparison]> => {
    const deadline = Date.now() + RECOVERY_MS;
    for (;;) {
      const result = await one(file);
      if (!result[1].startsWith("error") || Date.now() > deadline) return result;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  return {
    ...{ reference, image, pathOf, original },
    digestOf: (file) => image.scripted.layers[layerOf(file)]?.digest ?? "",
    compare: async (...files) => Object.fromEntries(await Promise.all(files.map(one))),
    compareUntilRead: async (...files) => Object.fromEntries(await Promise.all(files.map(patient))),
    [Symbol.asyncDispose]: remove,
  };
}
