import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { AppError, type Digest, delay } from "@soci-ts/core";
import {
  contentDirectory,
  digestOfText,
  imageLabels,
  type OpenedContract,
  openContract,
} from "../testing/contract-fixture.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { mountAll, unmountAll } from "../testsuite/index.ts";
import type { Mount } from "./types.ts";

const REF = "containerd.io/snapshot.ref";
const skip = mountObstacle();

describe("image layers", { skip }, () => {
  let directory: string;
  let root: string;
  let opened: OpenedContract;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "sn-"));
    root = join(directory, "r");
    opened = await openContract(root);
  });
  afterEach(async () => {
    await opened[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A layer that can be had lazily, with one file that is named for it. */
  function lazyLayer(name: string): Digest {
    const content = contentDirectory(join(directory, "content"), name);
    writeFileSync(join(content, name), name);
    opened.layers.add(digestOfText(name), content);
    return digestOfText(name);
  }

  /** Prepares a layer as containerd does; the name of what was there already. */
  async function lazySnapshot(layer: string, parent: string, chain = `${layer} ${parent}`) {
    const labels = imageLabels(chain, digestOfText(layer));
    const outcome = await opened.service.prepare(`extract ${chain}`, parent, labels);
    assert.equal(outcome.kind, "already-committed");
    return outcome.kind === "already-committed" ? outcome.name : "";
  }

  async function active(key: string, parent: string): Promise<readonly Mount[]> {
    const outcome = await opened.service.prepare(key, parent, {});
    assert.equal(outcome.kind, "mounts");
    return outcome.kind === "mounts" ? outcome.mounts : [];
  }

  async function namesIn(mounts: readonly Mount[]): Promise<readonly string[]> {
    const target = contentDirectory(directory, "at");
    await mountAll(mounts, target);
    try {
      return readdirSync(target).sort();
    } finally {
      await unmountAll(target);
    }
  }

  async function found(filter: string): Promise<readonly string[]> {
    const names: string[] = [];
    for await (const { name } of opened.service.list([filter])) names.push(name);
    return names;
  }

  it("are committed under a name made of parent and chain, found by the label and the parent that containerd asks for", async () => {
    lazyLayer("a");
    lazyLayer("b");
    const bottom = await lazySnapshot("a", "", "sha256:one");
    const top = await lazySnapshot("b", bottom, "sha256:two");
    assert.match(bottom, /^lazy\/0\/sha256:one$/);
    assert.match(top, /^lazy\/\d+\/sha256:two$/);
    const info = await opened.service.stat(top);
    assert.equal(info.kind, "committed");
    assert.equal(info.parent, bottom);
    assert.deepEqual(info.labels, {
      ...imageLabels("sha256:two", digestOfText("b")),
      "containerd.io/snapshot/remote": "remote snapshot",
    });
    const query = `labels."containerd.io/snapshot.ref"==sha256:two,parent==${JSON.stringify(bottom)}`;
    assert.deepEqual(await found(query), [top]);
    assert.deepEqual(opened.layers.requests[1], {
      imageReference: "example/app:v1",
      manifestDigest: digestOfText("example/app:v1"),
      layerDigest: digestOfText("b"),
      chainId: "sha256:two",
    });
    assert.equal(existsSync(join(root, "snapshots/1")), false);
    assert.deepEqual(await opened.service.usage(top), { sizeBytes: 2000, inodes: 2 });
  });

  it("are shared by all who prepare the same, at once or later, and are others on another parent", async () => {
    lazyLayer("a");
    const labels = imageLabels("sha256:one", digestOfText("a"));
    const prepare = (key: string, parent = "") => opened.service.prepare(key, parent, labels);
    const both = await Promise.all([prepare("k8s.io/1/x"), prepare("default/2/x")]);
    assert.deepEqual(both[0], both[1]);
    assert.deepEqual(await prepare("third"), both[0]);
    assert.equal(opened.layers.requests.length, 1);
    await active("k", "");
    await opened.service.commit("other", "k", {});
    const onOther = await prepare("fourth", "other");
    assert.notDeepEqual(onOther, both[0]);
    assert.equal(opened.layers.requests.length, 2);
  });

  it("that only containerd can bring become ordinary snapshots, whose story stays with them", async () => {
    lazyLayer("a");
    const bottom = await lazySnapshot("a", "");
    const labels = imageLabels("sha256:two", digestOfText("not lazy"), "example/b:v2");
    const outcome = await opened.service.prepare("extract", bottom, labels);
    assert.equal(outcome.kind, "mounts");
    assert.deepEqual(await namesIn(outcome.kind === "mounts" ? outcome.mounts : []), ["a"]);
    await opened.service.commit("sha256:two", "extract", labels);
    const [lower, upper] = opened.service.chain("sha256:two");
    assert.equal(lower?.layer, 1);
    assert.equal(upper?.layer, undefined);
    assert.equal(upper?.story?.imageReference, "example/b:v2");
    assert.deepEqual(upper?.story?.steps, [{ tried: "index", worked: false, why: "no index" }]);
    const names = opened.service.findByImage("example/b:v2").map(({ name }) => name);
    assert.deepEqual(names, ["sha256:two"]);
    const again = await opened.service.prepare("other", bottom, labels);
    assert.deepEqual(again, { kind: "already-committed", name: "sha256:two" });
  });

  it("are mounted when something needs them, and not before or after", async () => {
    for (const name of ["a", "b"]) lazyLayer(name);
    const bottom = await lazySnapshot("a", "");
    const top = await lazySnapshot("b", bottom);
    assert.equal(opened.layers.isMounted(1), false);
    const mounts = await active("k", top);
    assert.ok(opened.layers.isMounted(1) && opened.layers.isMounted(2));
    assert.deepEqual(await namesIn(mounts), ["a", "b"]);
    const view = await opened.service.view("v", bottom, {});
    assert.deepEqual([...opened.layers.retained].sort(), [1, 2]);
    await opened.service.remove("k");
    assert.deepEqual([...opened.layers.retained], [1]);
    assert.deepEqual(await namesIn(view), ["a"]);
    await opened.service.remove("v");
    assert.deepEqual([...opened.layers.retained], []);
    assert.ok(!opened.layers.isMounted(1) && !opened.layers.isMounted(2));
  });

  it("are told to be needed when the service is opened, and mounted again when mounts are asked for", async () => {
    for (const name of ["a", "b"]) lazyLayer(name);
    const top = await lazySnapshot("b", await lazySnapshot("a", ""));
    await active("k", top);
    await opened[Symbol.asyncDispose]();
    opened = await openContract(root);
    for (const name of ["a", "b"]) lazyLayer(name);
    assert.deepEqual([...opened.layers.retained].sort(), [1, 2]);
    assert.equal(opened.layers.isMounted(1), false);
    assert.deepEqual(await namesIn(await opened.service.mounts("k")), ["a", "b"]);
  });

  it("that can't be mounted make prepare and view unavailable, and leave nothing behind", async () => {
    lazyLayer("a");
    const bottom = await lazySnapshot("a", "");
    opened.layers.gate = async () => Promise.reject(new AppError("data_loss", "broken"));
    await assert.rejects(opened.service.prepare("k", bottom, {}), { code: "unavailable" });
    await assert.rejects(opened.service.view("k", bottom, {}), { code: "unavailable" });
    await assert.rejects(opened.service.stat("k"), { code: "not_found" });
    await opened.service.cleanup();
    assert.deepEqual(readdirSync(join(root, "snapshots")), []);
    opened.layers.gate = async () => {};
    await active("k", bottom);
  });

  it("that are waited for can be given up", async () => {
    lazyLayer("a");
    const abort = new AbortController();
    opened.layers.gate = async () => {
      abort.abort(new AppError("cancelled", "left"));
      await delay(10);
    };
    const labels = imageLabels("sha256:one", digestOfText("a"));
    const left = opened.service.prepare("k", "", labels, { signal: abort.signal });
    await assert.rejects(left, { code: "cancelled" });
    assert.deepEqual(await found("name"), []);
  });

  it("are forgotten when the last snapshot that is one goes", async () => {
    lazyLayer("a");
    const one = await lazySnapshot("a", "", "sha256:one");
    const two = await lazySnapshot("a", one, "sha256:two");
    const view = await opened.service.view("v", two, {});
    assert.deepEqual(await namesIn(view), ["a"]);
    for (const name of ["v", two]) await opened.service.remove(name);
    await opened.service.cleanup();
    assert.deepEqual(opened.layers.removed, []);
    await opened.service.remove(one);
    await opened.service.cleanup();
    assert.deepEqual(opened.layers.removed, [1]);
    assert.deepEqual([...opened.service.layersInUse()], []);
  });

  it("are not forgotten while somebody may just be getting them", async () => {
    lazyLayer("a");
    const one = await lazySnapshot("a", "", "sha256:one");
    let open = (): void => {};
    opened.layers.gate = () =>
      new Promise((resolve) => {
        open = resolve;
      });
    const other = lazySnapshot("a", "", "sha256:other");
    await opened.service.remove(one);
    open();
    await other;
    await opened.service.cleanup();
    assert.deepEqual(opened.layers.removed, []);
  });

  it("get their label back when they lost it", async () => {
    lazyLayer("a");
    const name = await lazySnapshot("a", "", "sha256:one");
    await opened.service.update({ name, labels: {} }, { kind: "labels", keys: [REF] });
    assert.equal(await lazySnapshot("a", "", "sha256:one"), name);
    assert.equal((await opened.service.stat(name)).labels[REF], "sha256:one");
  });

  it("stand once in a mount where they stand twice in a chain", async () => {
    for (const name of ["a", "b"]) lazyLayer(name);
    const chain = await lazySnapshot("a", "", "1");
    const middle = await lazySnapshot("b", chain, "2");
    const top = await lazySnapshot("a", middle, "3");
    assert.deepEqual(await namesIn(await active("k", top)), ["a", "b"]);
    assert.equal(opened.service.chain(top).length, 3);
  });

  it("need all labels of an image layer, with digests in them; else the request is an ordinary one", async () => {
    lazyLayer("a");
    const labels = imageLabels("sha256:one", digestOfText("a"));
    for (const key of Object.keys(labels)) {
      const outcome = await opened.service.prepare(key, "", { ...labels, [key]: "" });
      assert.equal(outcome.kind, "mounts");
    }
    const bad = { ...labels, "containerd.io/snapshot/cri.layer-digest": "sha256:short" };
    assert.equal((await opened.service.prepare("bad", "", bad)).kind, "mounts");
    assert.deepEqual(opened.layers.requests, []);
  });

  it("are refused before anything is done where key or parent are wrong", async () => {
    const labels = imageLabels("sha256:one", digestOfText("a"));
    await active("k", "");
    const prepare = (key: string, parent: string) => opened.service.prepare(key, parent, labels);
    await assert.rejects(prepare("k", ""), { code: "already_exists" });
    await assert.rejects(prepare("", ""), { code: "invalid_argument" });
    await assert.rejects(prepare("x", "none"), { code: "not_found" });
    await assert.rejects(prepare("x", "k"), { code: "invalid_argument" });
    assert.deepEqual(opened.layers.requests, []);
  });

  it("are not taken for a snapshot of somebody else's that has their name", async () => {
    lazyLayer("a");
    await active("k", "");
    await opened.service.commit("lazy/0/sha256:one", "k", {});
    const labels = imageLabels("sha256:one", digestOfText("a"));
    await assert.rejects(opened.service.prepare("x", "", labels), { code: "failed_precondition" });
    await opened.service.cleanup();
    assert.deepEqual(opened.layers.removed, [1]);
  });

  it("are seen with other owners through copies that go with the snapshot and come again", async () => {
    lazyLayer("a");
    const bottom = await lazySnapshot("a", "");
    const mapping = {
      "containerd.io/snapshot/uidmapping": "0:1000:65536",
      "containerd.io/snapshot/gidmapping": "0:2000:65536",
    };
    const key = "mapped";
    const outcome = await opened.service.prepare(key, bottom, mapping);
    const { id } = opened.service.chain(key).at(-1)!;
    const copy = join(root, `snapshots/${id}/m/0`);
    assert.deepEqual(opened.idMapped.calls, [
      [join(root, "l/l1"), copy, { uids: "0:1000:65536", gids: "0:2000:65536" }],
    ]);
    const [mount] = outcome.kind === "mounts" ? outcome.mounts : [];
    assert.ok(mount?.options.includes(`lowerdir=${copy}`));
    assert.deepEqual(await namesIn([mount!]), ["a"]);
    await opened.idMapped.unmount(copy);
    assert.deepEqual(await namesIn(await opened.service.mounts(key)), ["a"]);
    assert.equal(opened.idMapped.calls.length, 2);
    await opened.service.mounts(key);
    assert.equal(opened.idMapped.calls.length, 2);
    await opened.service.remove(key);
    await opened.service.cleanup();
    assert.equal(existsSync(join(root, `snapshots/${id}`)), false);
    assert.equal(readFileSync(join(directory, "content/a/a"), "utf8"), "a");
    const bad = { ...mapping, "containerd.io/snapshot/uidmapping": "1:2" };
    await assert.rejects(opened.service.prepare("x", bottom, bad), { code: "invalid_argument" });
  });

  it("whose owners can't be shifted leave nothing behind", async () => {
    lazyLayer("a");
    const bottom = await lazySnapshot("a", "");
    opened.idMapped.mount = async () => Promise.reject(new AppError("unimplemented", "old kernel"));
    const mapping = {
      "containerd.io/snapshot/uidmapping": "0:1000:65536",
      "containerd.io/snapshot/gidmapping": "0:1000:65536",
    };
    await assert.rejects(opened.service.prepare("k", bottom, mapping), { code: "unimplemented" });
    await opened.service.cleanup();
    assert.deepEqual(readdirSync(join(root, "snapshots")), []);
  });
});
