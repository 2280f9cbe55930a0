import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import {
  buildTar,
  gzipLayer,
  layerOf,
  pushLayout,
  startEmbeddedRegistry,
  writeLayout,
} from "@soci-ts/testkit";
import { soci } from "../e2e/soci-command.ts";
import { sampleLayer } from "./sample-layer.ts";

/** What a mount cost from start to end, as `soci unmount` tells it. */
export interface MountCost {
  readonly requests: number;
  readonly bytesFetched: number;
  readonly bytesRead: number;
  readonly fuseMessages: number;
}

/** An image in a registry on the loopback, indexed, that can be mounted any number of times. */
export interface BenchImage extends AsyncDisposable {
  /** Mounts with nothing local, does the work, unmounts; answers what it cost. */
  mounted(work: (directory: string) => Promise<void>, door?: string): Promise<MountCost>;
}

/** The sample layer of about `megabytes`, below a layer of 10,000 small files in 500 folders. */
export async function benchImage(megabytes: number): Promise<BenchImage> {
  const work = await mkdtemp(join(tmpdir(), "soci-bench-"));
  const registry = await startEmbeddedRegistry();
  const sample = await sampleLayer(megabytes);
  const blob = await readFile(sample.gzip);
  const small = Array.from({ length: 10_000 }, (_, i) => ({
    name: `many/folder-${i % 500}/file-${i}`,
    content: `${i}`.repeat(200),
  }));
  const image = await writeLayout(join(work, "layout"), [
    layerOf(gunzipSync(blob), blob, "application/vnd.oci.image.layer.v1.tar+gzip"),
    gzipLayer(await buildTar(small)),
  ]);
  const reference = `${registry.host}/bench:v1`;
  await pushLayout(image, registry.host, "bench", "v1");
  await soci(
    { root: join(work, "builder") },
    "create",
    "--push",
    "--min-layer-size",
    "0",
    reference,
  );
  let ordinal = 0;
  return {
    async mounted(use, door = "auto") {
      ordinal += 1;
      const options = { root: join(work, `node-${ordinal}`) };
      const target = join(work, `mount-${ordinal}`);
      await mkdir(target);
      await soci(options, "mount", reference, target, "--door", door);
      let cost: { stats?: MountCost } = {};
      try {
        await use(target);
      } finally {
        cost = (await soci(options, "unmount", target)) as { stats?: MountCost };
      }
      if (cost.stats === undefined) throw new Error("the mount left no figures");
      return cost.stats;
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await rm(work, { recursive: true, force: true });
    },
  };
}
