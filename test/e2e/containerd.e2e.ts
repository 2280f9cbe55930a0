// Real containerd starts unmodified images from lazy snapshots: each version, each door.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  debianSkipReason,
  type FaultProxy,
  freePort,
  type RunningRegistry,
  readLayoutBlob,
  snapshotterMounts,
  startDockerRegistry,
  startFaultProxy,
} from "@soci-ts/testkit";
import {
  containerdsForTests,
  type Door,
  doorsToTest,
  type LazyNode,
  publish,
  REGISTRY,
  startLazyNode,
} from "./node-fixture.ts";
import { imageLayout, type NodeImage, PAUSE, SMALL_IMAGES } from "./node-images.ts";
import { type Pod, startPod } from "./node-pod.ts";
import { chainIdOf, diffIdsOf, pullWithLabels } from "./node-pull.ts";

const DOORS: readonly Door[] = ["erofs", "loop", "fuse"];
const { python, nginx } = SMALL_IMAGES;
const PYTHON = `${REGISTRY}/${python.name}:v1`;
const NGINX = `${REGISTRY}/${nginx.name}:v1`;

const { programs: versions, skip: noContainerd } = await containerdsForTests();
const skip = noContainerd || (await debianSkipReason());

describe("containerd starts images lazily", { skip, timeout: 900_000 }, () => {
  let work: string;
  let registry: RunningRegistry;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-containerd-"));
    registry = await startDockerRegistry();
    await publish(registry.host, [{ image: PAUSE }, { image: nginx }], undefined);
    await publish(registry.host, [{ image: python }], {
      store: join(work, "builder"),
      minLayerBytes: 0,
    });
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  for (const { programs, door } of doorsToTest(versions, DOORS)) {
    describe(`containerd ${programs.version}, door ${door}`, () => {
      let proxy: FaultProxy;
      let lazy: LazyNode;
      let pod: Pod;

      before(async () => {
        proxy = await startFaultProxy(registry.host);
        // What is fetched in the background would be counted, too.
        const config = ["[hydrate]", 'mode = "off"'];
        lazy = await startLazyNode({ programs, door, registryHost: proxy.host, config });
        pod = await lazy.watched(() => startPod(lazy.node));
      });

      after(async () => {
        await pod?.[Symbol.asyncDispose]();
        await lazy?.[Symbol.asyncDispose]();
        await proxy?.[Symbol.asyncDispose]();
      });

      test("CRI pulls an indexed image, and runs it from the bytes that it needs", () =>
        lazy.watched(async () => {
          const { bytesSent } = proxy;
          await pod.pull(PYTHON);
          const container = await pod.create(PYTHON, python.command);
          await container.start();
          assert.deepEqual(await container.ended(), { exitCode: 0, output: "uid 0" });
          await container.remove();
          const fetched = proxy.bytesSent - bytesSent;
          const whole = await compressedBytes(python);
          assert.ok(fetched < whole * 0.8, `${fetched} of ${whole} bytes were fetched`);
          await assertMounted(lazy, door);
        }));

      test("exec, and what a container writes, are as with any image", () =>
        lazy.watched(async () => {
          const container = await pod.create(PYTHON, ["/bin/sleep", "1000"]);
          await container.start();
          const shell = (line: string) => container.exec("/bin/sh", "-c", line);
          assert.deepEqual(await shell("echo new > /app/new && cat /app/new"), {
            exitCode: 0,
            output: "new\n",
          });
          assert.equal(
            (await shell("echo more >> /app/hello.py && tail -1 /app/hello.py")).output,
            "more\n",
          );
          assert.equal((await shell("rm -r /usr/share/doc && ls -d /usr/share/doc")).exitCode, 2);
          assert.equal((await shell("mv /app /was && cat /was/new /was/hello.py")).exitCode, 0);
          await container.remove();
          const again = await pod.create(PYTHON, ["/bin/cat", "/etc/debian_version"]);
          await again.start();
          assert.equal((await again.ended()).exitCode, 0, "the image kept what a container did");
          await again.remove();
        }));

      test("a client that passes the labels brings the image to a second namespace, and nothing is fetched twice", () =>
        lazy.watched(async () => {
          const before = blobRequests(proxy);
          const pulled = await pullWithLabels(lazy.node, {
            namespace: "second",
            snapshotter: lazy.node.snapshotter,
            host: proxy.host,
            repository: python.name,
            tag: "v1",
            reference: PYTHON,
          });
          assert.deepEqual(pulled.unpacked, []);
          const run = ["run", "--rm", "--snapshotter", lazy.node.snapshotter, PYTHON, "hello"];
          assert.equal(await lazy.node.ctr("second", ...run, ...python.command), "uid 0\n");
          // The client itself reads the config.
          assert.ok(blobRequests(proxy) - before <= 1, "layers were fetched again");
        }));

      test("an image with no index runs, and is not unpacked by containerd", () =>
        lazy.watched(async () => {
          await pod.pull(NGINX);
          const port = await freePort();
          const line = `echo "${nginxConfig(port)}" > /run/nginx.conf && exec nginx -c /run/nginx.conf`;
          const container = await pod.create(NGINX, ["/bin/sh", "-c", line]);
          await container.start();
          const answer = await Promise.race([
            textAt(`http://127.0.0.1:${port}/index.html`),
            container.ended(),
          ]);
          assert.equal(answer, "hello from nginx\n");
          await container.remove();
          const content = await lazy.node.ctr("k8s.io", "content", "ls", "-q");
          const { layers } = await imageLayout(nginx);
          for (const { digest } of layers)
            assert.ok(!content.includes(digest), `${digest} is in containerd`);
        }));

      test("in a user namespace files have the owners that they have in the image", () =>
        lazy.watched(async () => {
          const map = [
            "--uidmap",
            "0:100000:65536",
            "--gidmap",
            "0:100000:65536",
            "--remap-labels",
          ];
          const run = [
            "run",
            "--rm",
            ...map,
            "--snapshotter",
            lazy.node.snapshotter,
            PYTHON,
            "mapped",
          ];
          const line =
            "touch /app/mine && stat -c %u:%g:%n /app/hello.py /app/mine && cat /proc/self/uid_map";
          const output = await lazy.node.ctr("second", ...run, "/bin/sh", "-c", line);
          assert.deepEqual(output.trim().split(/\s+/), [
            ...["0:0:/app/hello.py", "0:0:/app/mine"],
            ...["0", "100000", "65536"],
          ]);
        }));

      test("an image that was deleted is gone, and can be pulled again", () =>
        lazy.watched(async () => {
          await lazy.node.ctr("second", "images", "rm", "--sync", PYTHON);
          await pod.removeImage(PYTHON);
          for (const namespace of ["second", "k8s.io"]) {
            const command = ["snapshots", "--snapshotter", lazy.node.snapshotter, "ls"];
            const left = await lazy.node.ctr(namespace, ...command);
            assert.ok(!left.includes(await chainIdOfImage(python)), left);
          }
          await pod.pull(PYTHON);
          const container = await pod.create(PYTHON, python.command);
          await container.start();
          assert.deepEqual(await container.ended(), { exitCode: 0, output: "uid 0" });
          await container.remove();
        }));
    });
  }
});

function nginxConfig(port: number): string {
  const server = `server { listen 127.0.0.1:${port}; root /app; }`;
  return `daemon off; user root; pid /run/nginx.pid; error_log stderr; events {} http { access_log off; ${server} }`;
}

async function compressedBytes(image: NodeImage): Promise<number> {
  const { layers } = await imageLayout(image);
  return layers.reduce((sum, { size }) => sum + size, 0);
}

async function chainIdOfImage(image: NodeImage): Promise<string> {
  const { directory, config } = await imageLayout(image);
  return chainIdOf(diffIdsOf(Buffer.from(await readLayoutBlob(directory, config.digest))));
}

/** Layers are in the kernel by the door that was asked for. */
async function assertMounted(lazy: LazyNode, door: Door): Promise<void> {
  const counts = await snapshotterMounts(lazy.snapshotter?.root ?? "");
  const lazyMounts = (door === "fuse" ? counts["fuse"] : counts["erofs"]) ?? 0;
  assert.ok(lazyMounts > 0, `mounts of the daemon: ${JSON.stringify(counts)}`);
}

function blobRequests(proxy: FaultProxy): number {
  return proxy.requests.filter(({ method, path }) => method === "GET" && path.includes("/blobs/"))
    .length;
}

/** The text at a URL, as soon as somebody answers there. */
async function textAt(url: string): Promise<string> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      return await (await fetch(url)).text();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
