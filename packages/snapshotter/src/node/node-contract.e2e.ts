import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { DisposeStack } from "@soci-ts/core";
import { type BuiltLayerBlob, gzipLayer } from "@soci-ts/testkit";
import type { LayerRequest, NodeLayers } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import { openContract } from "../testing/contract-fixture.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { TestImages, TestNode } from "../testing/node-fixture.ts";
import { borrowed } from "../testing/node-processes.ts";
import { Ground } from "../testsuite/ground.ts";
import { runSnapshotSuite, type SuiteSubject } from "../testsuite/index.ts";
import { treeChecks } from "../testsuite/tree-checks.ts";
import type { Change } from "../testsuite/trees.ts";

const run = promisify(execFile);
const skip = mountObstacle();
const DOORS: readonly Door[] = ["erofs", "loop", "fuse"];

/** A layer of what `fill` writes into an empty directory. */
async function layerOf(scratch: string, fill: Change): Promise<BuiltLayerBlob> {
  const directory = await mkdtemp(join(scratch, "content-"));
  await run("chmod", ["755", directory]);
  fill(directory);
  const args = ["-C", directory, "--numeric-owner", "-cf", "-", "."];
  const { stdout } = await run("tar", args, { encoding: "buffer", maxBuffer: 2 ** 26 });
  return gzipLayer(stdout);
}

function labelsOf(request: LayerRequest): Readonly<Record<string, string>> {
  return {
    "containerd.io/snapshot.ref": request.chainId,
    "containerd.io/snapshot/cri.image-ref": request.imageReference,
    "containerd.io/snapshot/cri.layer-digest": request.layerDigest,
    "containerd.io/snapshot/cri.manifest-digest": request.manifestDigest,
  };
}

function runLayerChecks(name: string, open: (root: string) => Promise<SuiteSubject>): void {
  describe(name, { skip }, () => {
    for (const check of treeChecks.filter((it) => it.name.startsWith("layers show"))) {
      it(check.name, async () => {
        await using ground = await Ground.open(open);
        await check.run(ground);
      });
    }
  });
}

for (const door of DOORS) {
  describe(`the contract over a node's layers (${door})`, { skip }, () => {
    const stack = new DisposeStack();
    let images: TestImages;
    let node: TestNode;
    let layers: NodeLayers;
    before(async () => {
      images = stack.use(await TestImages.open());
      node = stack.use(await TestNode.open());
      // Idle mounts are released while the checks run.
      layers = await node.layers(door, { idleReleaseMs: 1000 });
    });
    after(async () => {
      await stack[Symbol.asyncDispose]();
    });

    const open = async (root: string): Promise<SuiteSubject> => {
      await mkdir(root, { recursive: true });
      const opened = await openContract(root, {
        layers: borrowed(layers),
        xino: door !== "fuse",
      });
      const scratch = join(root, "content");
      await mkdir(scratch);
      let count = 0;
      const base = async (fill: Change): Promise<string> => {
        count += 1;
        const image = await images.push([await layerOf(scratch, fill)]);
        const [request] = image.requests;
        if (request === undefined) throw new Error("want an image of one layer");
        const outcome = await opened.service.prepare(`extract-${count}`, "", labelsOf(request));
        if (outcome.kind === "already-committed") return outcome.name;
        throw new Error("want a lazy layer");
      };
      const close = async (): Promise<void> => {
        await opened[Symbol.asyncDispose]();
        await rm(scratch, { recursive: true, force: true });
      };
      return { service: opened.service, base, [Symbol.asyncDispose]: close };
    };

    const name = `snapshots on real layers (${door})`;
    // The door makes a difference to what layers show, and to nothing else.
    if (door === "erofs") runSnapshotSuite({ name, open, skip });
    else runLayerChecks(name, open);
  });
}
