import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openContainerd, openCri, snapshotsService } from "@soci-ts/containerd-api";
import { DisposeStack, sha256 } from "@soci-ts/core";
import { hasProgram } from "@soci-ts/testkit";
import { serveAtSocket } from "../socket.ts";
import { type ProxyContainerd, startProxyContainerd } from "../testing/containerd.ts";
import { MemorySnapshots } from "../testing/memory-snapshots.ts";
import { temporaryDirectory } from "../testing/temporary.ts";
import { openCriImageProxy } from "./cri-images.ts";
import type { PullCredential } from "./pull-credential.ts";
import { snapshotsHandlers } from "./snapshots.ts";

const missing = ["containerd", "ctr"].filter((name) => !hasProgram(name));
const skip =
  missing.length > 0
    ? `not here: ${missing.join(", ")}`
    : process.getuid?.() !== 0 && "containerd needs root";

const SNAPSHOTTER = "memory";
const stack = new DisposeStack();
const credentials: PullCredential[] = [];
let service: MemorySnapshots;
let containerd: ProxyContainerd;
let proxySocket: string;

before(async () => {
  if (skip !== false) return;
  const folder = await temporaryDirectory(stack);
  service = new MemorySnapshots(folder);
  const path = join(folder, "s.sock");
  const { definition } = snapshotsService();
  const implementation = snapshotsHandlers(service);
  stack.use(await serveAtSocket({ kind: "path", path }, [{ definition, implementation }]));
  containerd = stack.use(await startProxyContainerd(SNAPSHOTTER, path));
  const proxy = stack.use(
    openCriImageProxy({
      criSocket: containerd.socket,
      onCredential: (credential) => credentials.push(credential),
    }),
  );
  proxySocket = join(folder, "cri.sock");
  stack.use(await serveAtSocket({ kind: "path", path: proxySocket }, proxy.services));
});

after(() => stack[Symbol.asyncDispose]());

const snapshots = (...args: string[]): Promise<string> =>
  containerd.ctr("snapshots", "--snapshotter", SNAPSHOTTER, ...args);

test("ctr prepares, commits, lists, looks at and removes snapshots of ours", { skip }, async () => {
  await snapshots("prepare", "--target", "/mnt", "key");
  const [key] = [...service.infos.keys()];
  assert.match(key ?? "", /^test\/\d+\/key$/);
  assert.match(await snapshots("mounts", "/mnt", "key"), /^mount -t bind .* \/mnt -o rw,rbind/);
  await snapshots("commit", "name", "key");
  await snapshots("view", "view", "name");
  const rows = (await snapshots("ls")).trim().split("\n").slice(1);
  assert.deepEqual(rows.map((row) => row.trim().split(/\s+/)).sort(), [
    ["name", "Committed"],
    ["view", "name", "View"],
  ]);
  assert.match(await snapshots("usage", "name"), /1\.0 TiB\s+3/);
  await snapshots("label", "name", "a.b/c=d");
  const info = JSON.parse(await snapshots("info", "name")) as Record<string, unknown>;
  assert.equal(info["Kind"], "Committed");
  assert.equal((info["Labels"] as Record<string, string>)["a.b/c"], "d");
  await assert.rejects(snapshots("rm", "name"), /cannot remove snapshot/);
  await snapshots("rm", "view");
  await snapshots("rm", "name");
  await assert.rejects(snapshots("info", "name"), /not found/);
});

test("our client speaks with containerd: versions, plugins, namespaces, leases", {
  skip,
}, async () => {
  await using client = openContainerd(containerd.socket, { namespace: "other" });
  assert.match((await client.version.version({})).version, /^\d+\.\d+\.\d+/);
  const { plugins } = await client.introspection.plugins({ filters: [`id==${SNAPSHOTTER}`] });
  assert.deepEqual(
    plugins.map(({ type, initErr }) => [type, initErr]),
    [["io.containerd.snapshotter.v1", null]],
  );
  await client.namespaces.create({ namespace: { name: "other", labels: { a: "b" } } });
  const { namespace } = await client.namespaces.get({ name: "other" });
  assert.deepEqual(namespace?.labels, { a: "b" });
  await client.leases.create({ id: "lease" });
  assert.deepEqual(
    (await client.leases.list({})).leases.map(({ id }) => id),
    ["lease"],
  );
  await client.leases.delete({ id: "lease" });
  await assert.rejects(client.images.get({ name: "none" }), {
    code: "not_found",
    message: /not found/,
  });
});

test("our client writes blobs into containerd, reads them, and names an image", {
  skip,
}, async () => {
  await using client = openContainerd(containerd.socket, { namespace: "test" });
  const data = Buffer.alloc(3_000_000, "abc");
  const digest = sha256(data);
  async function* requests() {
    const ref = "ref";
    const total = data.length;
    for (let offset = 0; offset < total; offset += 1_000_000) {
      const part = data.subarray(offset, offset + 1_000_000);
      yield { action: "WRITE", ref, total, offset, data: part } as const;
    }
    const labels = { "containerd.io/gc.root": "now" };
    yield { action: "COMMIT", ref, total, offset: total, expected: digest, labels } as const;
  }
  const answers: unknown[] = [];
  for await (const { action, offset } of client.content.write(requests())) {
    answers.push([action, offset]);
  }
  assert.deepEqual(answers.at(-1), ["COMMIT", data.length]);
  const parts: Uint8Array[] = [];
  for await (const { data: part } of client.content.read({ digest, offset: 5 })) parts.push(part);
  assert.ok(data.subarray(5).equals(Buffer.concat(parts)));
  const { info } = await client.content.info({ digest });
  assert.equal(info?.size, data.length);
  assert.deepEqual(Object.keys(info.labels), ["containerd.io/gc.root"]);
  const target = { mediaType: "application/x-test", digest, size: data.length };
  await client.images.create({ image: { name: "example/test:1", target } });
  const { image } = await client.images.get({ name: "example/test:1" });
  assert.deepEqual(image?.target, { ...target, annotations: {} });
  await client.images.delete({ name: "example/test:1", sync: true });
});

test("kubelet's calls pass through the image proxy to containerd's CRI", { skip }, async () => {
  await using direct = openCri(containerd.socket);
  await using kubelet = openCri(proxySocket);
  const { runtimeName } = await direct.runtime.version({});
  assert.equal(runtimeName, "containerd");
  assert.deepEqual(await kubelet.images.listImages({}), await direct.images.listImages({}));
  const { imageFilesystems } = await kubelet.images.imageFsInfo({});
  assert.match(imageFilesystems[0]?.fsId?.mountpoint ?? "", /snapshotter/);
  assert.equal((await kubelet.images.imageStatus({ image: { image: "none:1" } })).image, null);
  const pull = kubelet.images.pullImage({
    image: { image: "127.0.0.1:1/team/app:1" },
    auth: { username: "u", password: "p" },
  });
  await assert.rejects(pull, /127\.0\.0\.1:1/);
  assert.deepEqual(credentials, [
    {
      registry: "127.0.0.1:1",
      repository: "team/app",
      credential: { kind: "basic", username: "u", password: "p" },
    },
  ]);
});
