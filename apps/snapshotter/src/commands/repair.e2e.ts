import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { snapshotsService } from "@soci-ts/containerd-api";
import { DisposeStack } from "@soci-ts/core";
import { buildTar, command, gzipLayer, hasProgram, writeLayout } from "@soci-ts/testkit";
import { snapshotsHandlers } from "../services/snapshots.ts";
import { serveAtSocket } from "../socket.ts";
import { type ProxyContainerd, startProxyContainerd } from "../testing/containerd.ts";
import { MemorySnapshots } from "../testing/memory-snapshots.ts";
import { temporaryDirectory } from "../testing/temporary.ts";
import { openRepair } from "./open-repair.ts";
import { type RepairResult, repairImage } from "./repair.ts";

const missing = ["containerd", "ctr"].filter((name) => !hasProgram(name));
const skip =
  missing.length > 0
    ? `not here: ${missing.join(", ")}`
    : process.getuid?.() !== 0 && "containerd needs root";

const SNAPSHOTTER = "memory";
const IMAGE = "test/app:latest";
const stack = new DisposeStack();
let service: MemorySnapshots;
let containerd: ProxyContainerd;
let archive: string;

before(async () => {
  if (skip !== false) return;
  const folder = await temporaryDirectory(stack);
  service = new MemorySnapshots(folder);
  const path = join(folder, "s.sock");
  const { definition } = snapshotsService();
  const implementation = snapshotsHandlers(service);
  stack.use(await serveAtSocket({ kind: "path", path }, [{ definition, implementation }]));
  containerd = stack.use(await startProxyContainerd(SNAPSHOTTER, path));
  const layers = await Promise.all(
    ["base", "top"].map(async (name) => gzipLayer(await buildTar([{ name, content: name }]))),
  );
  const layout = join(folder, "layout");
  await writeLayout(layout, layers);
  archive = join(folder, "image.tar");
  await command("tar", ["--create", "--directory", layout, "--file", archive, "."]);
});

after(() => stack[Symbol.asyncDispose]());

async function repair(isDryRun = false): Promise<RepairResult> {
  const { signal } = new AbortController();
  await using client = openRepair(containerd.socket, SNAPSHOTTER, signal);
  const request = { image: IMAGE, snapshotter: SNAPSHOTTER, isDryRun, signal };
  const { results } = await repairImage(client, request);
  assert.deepEqual(
    results.map(({ namespace }) => namespace),
    ["test"],
  );
  return results[0]!;
}

function pull(): Promise<string> {
  return containerd.ctr(
    "images",
    "import",
    "--base-name",
    "test/app",
    "--snapshotter",
    SNAPSHOTTER,
    archive,
  );
}

const snapshots = (...args: string[]): Promise<string> =>
  containerd.ctr("snapshots", "--snapshotter", SNAPSHOTTER, ...args);

test("repair brings an image back that a pull can't, since its snapshots are lost", {
  skip,
}, async () => {
  await pull();
  assert.equal((await repair()).state, "whole");
  const chain = (await snapshots("ls")).match(/^sha256:\w+/gm) ?? [];
  assert.equal(chain.length, 2);

  service.infos.clear();
  await assert.rejects(pull(), /not found|exists/);
  // What the pull made before it failed is lost too.
  service.infos.clear();
  assert.equal((await repair(true)).state, "missing");
  assert.equal(service.infos.size, 0);

  const { state, missing: lost, detail } = await repair();
  assert.equal(state, "repaired", detail);
  assert.deepEqual([...lost].sort(), [...chain].sort());
  for (const key of chain) assert.match(await snapshots("info", key), /"Kind": "Committed"/);
  const labels = [...service.infos.values()].map((info) => info.labels);
  assert.equal(labels[0]!["containerd.io/snapshot/cri.image-ref"], IMAGE);
  assert.equal((await repair()).state, "whole");
  await pull();
  // The lease is gone, and the image's own reference holds what was made: a collection takes nothing.
  assert.doesNotMatch(await containerd.ctr("leases", "ls", "-q"), /soci-repair/);
  await containerd.ctr("content", "prune", "references").catch(() => undefined);
  assert.equal((await snapshots("ls")).match(/^sha256:/gm)?.length, 2);
});

test("repair removes records of containers that are lost, and names them", { skip }, async () => {
  await containerd.ctr("containers", "create", "--snapshotter", SNAPSHOTTER, IMAGE, "c1", "true");
  service.infos.clear();
  const { state, lostContainers } = await repair();
  assert.equal(state, "repaired");
  assert.deepEqual(lostContainers, ["c1"]);
  await containerd.ctr("containers", "delete", "c1").catch(() => undefined);
});

test("repair tells a daemon that is down from one that lost its data", { skip }, async () => {
  const stat = service.stat;
  try {
    service.stat = () => Promise.reject(new Error("broken"));
    await assert.rejects(repair(), (error: { code?: string }) => error.code !== "not_found");
  } finally {
    service.stat = stat;
  }
  assert.equal((await repair()).state, "whole");
});
