import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { type Containerd, openContainerd, snapshotsService } from "@soci-ts/containerd-api";
import { type AppError, DisposeStack } from "@soci-ts/core";
import { serveAtSocket } from "../socket.ts";
import { MemorySnapshots } from "../testing/memory-snapshots.ts";
import { temporaryDirectory } from "../testing/temporary.ts";
import { snapshotsHandlers } from "./snapshots.ts";

type Client = Containerd["snapshots"];

async function withClient(
  use: (client: Client, service: MemorySnapshots) => Promise<void>,
  service = new MemorySnapshots(),
): Promise<void> {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  const { definition } = snapshotsService();
  const implementation = snapshotsHandlers(service);
  stack.use(await serveAtSocket({ kind: "path", path }, [{ definition, implementation }]));
  await use(stack.use(openContainerd(path, { namespace: "default" })).snapshots, service);
}

test("Prepare, Mounts, Stat, Commit, View and Remove reach the service and come back", async () => {
  await withClient(async (client, service) => {
    const mounts = [
      { type: "bind", source: "/nowhere", target: "", options: ["rw", "rbind"] },
    ] as const;
    const labels = { "containerd.io/gc.root": "now" };
    assert.deepEqual(await client.prepare({ key: "a", labels }), { mounts });
    assert.deepEqual(service.calls, [["prepare", "a", "", labels]]);
    assert.deepEqual(await client.mounts({ key: "a" }), { mounts });
    await client.commit({ key: "a", name: "c", labels: { l: "2" } });
    const { info } = await client.stat({ key: "c" });
    const stored = service.infos.get("c")!;
    assert.deepEqual(info, {
      name: "c",
      parent: "",
      kind: "COMMITTED",
      labels: { l: "2" },
      createdAt: {
        seconds: Math.floor(stored.createdAt.getTime() / 1000),
        nanos: stored.createdAt.getMilliseconds() * 1_000_000,
      },
      updatedAt: info?.createdAt ?? null,
    });
    const view = await client.view({ key: "v", parent: "c" });
    assert.deepEqual(view.mounts[0]?.options, ["ro", "rbind"]);
    assert.equal((await client.stat({ key: "v" })).info?.kind, "VIEW");
    await assert.rejects(client.remove({ key: "c" }), { code: "failed_precondition" });
    await client.remove({ key: "v" });
    await client.remove({ key: "c" });
    await assert.rejects(client.stat({ key: "c" }), { code: "not_found" });
    await client.cleanup({});
    assert.deepEqual(service.calls.at(-1), ["cleanup"]);
  });
});

test("a layer that is there now is ALREADY_EXISTS", async () => {
  await withClient(async (client) => {
    const labels = { "containerd.io/snapshot.ref": "sha256:1" };
    await assert.rejects(client.prepare({ key: "k", labels }), {
      code: "already_exists",
      message: /k@sha256:1/,
    });
  });
});

test("Usage carries sizes beyond 32 bits", async () => {
  await withClient(async (client) => {
    await client.prepare({ key: "a" });
    assert.deepEqual(await client.usage({ key: "a" }), { size: 2 ** 40 + 1, inodes: 3 });
  });
});

const masks: readonly (readonly [string, readonly string[] | undefined, unknown])[] = [
  ["no mask", undefined, { kind: "all" }],
  ["an empty mask", [], { kind: "all" }],
  ["labels", ["labels"], { kind: "all" }],
  ["labels beside one of them", ["labels.a", "labels"], { kind: "all" }],
  [
    "keys with dots and slashes",
    ["labels.containerd.io/gc.ref.content.0", "labels.x"],
    { kind: "labels", keys: ["containerd.io/gc.ref.content.0", "x"] },
  ],
];
for (const [name, paths, expected] of masks) {
  test(`Update with ${name} is ${JSON.stringify(expected)}`, async () => {
    await withClient(async (client, service) => {
      await client.prepare({ key: "a" });
      const updateMask = paths === undefined ? undefined : { paths };
      const { info } = await client.update({ info: { name: "a", labels: { x: "y" } }, updateMask });
      assert.deepEqual(info?.labels, { x: "y" });
      assert.deepEqual(service.calls.at(-1), ["update", "a", { x: "y" }, expected]);
    });
  });
}

test("List comes in messages of at most 100, and passes the filters on", async () => {
  await withClient(async (client, service) => {
    for (let at = 0; at < 250; at += 1) await service.prepare(`k${at}`, "", {});
    const sizes: number[] = [];
    const names: string[] = [];
    for await (const { info } of client.list({ filters: ["name==k1", "kind==active,labels.a"] })) {
      sizes.push(info.length);
      names.push(...info.map(({ name }) => name));
    }
    assert.deepEqual(sizes, [100, 100, 50]);
    assert.deepEqual(names, [...service.infos.keys()]);
    assert.deepEqual(service.calls.at(-1), ["list", ["name==k1", "kind==active,labels.a"]]);
  });
});

test("List of nothing is no message at all", async () => {
  await withClient(async (client) => {
    for await (const _ of client.list({})) assert.fail("a message");
  });
});

const long = "k".repeat(4097);
const many = Object.fromEntries(Array.from({ length: 513 }, (_, at) => [`l${at}`, ""]));
const refused: readonly (readonly [string, (client: Client) => Promise<unknown>])[] = [
  ["Prepare without a key", (client) => client.prepare({})],
  ["Prepare with a key of 4097 bytes", (client) => client.prepare({ key: long })],
  [
    "Prepare with a key of 4098 bytes in 2049 characters",
    (c) => c.prepare({ key: "é".repeat(2049) }),
  ],
  ["Prepare with a long parent", (client) => client.prepare({ key: "a", parent: long })],
  ["Prepare with a long label", (c) => c.prepare({ key: "a", labels: { l: "v".repeat(4096) } })],
  ["Prepare with 513 labels", (client) => client.prepare({ key: "a", labels: many })],
  ["View without a key", (client) => client.view({ parent: "p" })],
  ["Mounts without a key", (client) => client.mounts({})],
  ["Commit without a name", (client) => client.commit({ key: "a" })],
  ["Commit without a key", (client) => client.commit({ name: "a" })],
  ["Remove with a long key", (client) => client.remove({ key: long })],
  ["Stat without a key", (client) => client.stat({})],
  ["Usage without a key", (client) => client.usage({})],
  ["Update without info", (client) => client.update({})],
  ["Update of the name", (c) => c.update({ info: { name: "a" }, updateMask: { paths: ["name"] } })],
  [
    "Update of no label",
    (c) => c.update({ info: { name: "a" }, updateMask: { paths: ["labels."] } }),
  ],
];
for (const [name, call] of refused) {
  test(`${name} is INVALID_ARGUMENT and doesn't reach the service`, async () => {
    await withClient(async (client, service) => {
      await assert.rejects(call(client), { code: "invalid_argument" });
      assert.deepEqual(service.calls, []);
    });
  });
}

test("the longest key and label are taken", async () => {
  await withClient(async (client, service) => {
    const labels = { l: "v".repeat(4095) };
    await client.prepare({ key: long.slice(1), labels });
    assert.deepEqual(service.calls, [["prepare", long.slice(1), "", labels]]);
  });
});

test("a message of more than 4 MiB is refused before it is read", async () => {
  await withClient(async (client, service) => {
    await assert.rejects(
      client.prepare({ key: "x".repeat(4 * 1024 * 1024) }),
      (error: AppError) => error.code === "resource_exhausted",
    );
    assert.deepEqual(service.calls, []);
  });
});

test("a caller that goes away aborts what the service does for it", async () => {
  let aborted = false;
  const gone = new AbortController();
  class Slow extends MemorySnapshots {
    override async mounts(_key: string, options: { signal?: AbortSignal } = {}): Promise<never> {
      gone.abort();
      await new Promise((resolve) => options.signal?.addEventListener("abort", resolve));
      aborted = true;
      options.signal?.throwIfAborted();
      throw new Error("not aborted");
    }
  }
  await withClient(async (client) => {
    await assert.rejects(client.mounts({ key: "a" }, { signal: gone.signal }), {
      code: "cancelled",
    });
    while (!aborted) await new Promise((resolve) => setTimeout(resolve, 5));
  }, new Slow());
});
