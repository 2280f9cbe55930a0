// A root that an earlier version wrote: this version goes on with it, the earlier one could go on after it, and a newer one's is refused.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import { type FaultProxy, startEmbeddedRegistry, startFaultProxy } from "@soci-ts/testkit";
import {
  KEYS,
  type KeptImage,
  type KeptState,
  pushKeptImages,
  treeSum,
  unpackKeptState,
} from "./kept-state.ts";
import { until } from "./systemd-machine.ts";

/** Files of the lazy image: in a span that was read, and in a layer of which nothing was. */
const HERE = "bottom/0";
const ELSEWHERE = "bottom/deep/1";
const skip = process.getuid?.() === 0 ? false : "mounts need root";

describe("a kept root", { skip, timeout: 180_000 }, () => {
  const stack = new DisposeStack();
  let state: KeptState;
  let proxy: FaultProxy;
  let lazy: KeptImage;
  let whole: KeptImage;
  before(async () => {
    state = stack.use(await unpackKeptState());
    const registry = stack.use(await startEmbeddedRegistry());
    proxy = stack.use(await startFaultProxy(registry.host));
    await pushKeptImages(registry.host, state.images);
    await state.useRegistry(proxy.host);
    [lazy, whole] = state.images;
  });
  after(async () => {
    await stack[Symbol.asyncDispose]();
  });

  test("of a newer format is refused before a byte of it changes, by daemon and keeper", async () => {
    const note = join(state.root, "format.json");
    await writeFile(note, '{"format":99,"more":"fields"}');
    const before = await treeSum(state.root);
    const message = /its format is 99, want at most 1; a newer version wrote it/;
    await assert.rejects(state.start(), message);
    await assert.rejects(state.runRole("keeper"), message);
    assert.equal(await treeSum(state.root), before);
    await rm(note);
  });

  test("of an earlier version, after a reboot: what is here is read with the registry down, the rest when it is back", async () => {
    proxy.rule = () => ({ kind: "status", status: 503 });
    const daemon = await state.start();
    const names: string[] = [];
    for await (const { info } of daemon.snapshots.list({}))
      names.push(...info.map(({ name, kind }) => `${name} ${kind}`));
    assert.deepEqual(names.filter((name) => !name.startsWith("lazy/")).sort(), [
      "default/12/committed COMMITTED",
      "default/13/view VIEW",
      "default/15/unpacked COMMITTED",
      "k8s.io/10/container ACTIVE",
    ]);
    assert.equal(names.length, 7, "three lazy layers");
    assert.deepEqual(await daemon.sums(KEYS.whole, Object.keys(whole.files)), whole.files);
    const own = await daemon.sums(KEYS.lazy, ["written", HERE, ELSEWHERE]);
    assert.equal(own["written"], sumOf("in the container"));
    assert.equal(own[HERE], lazy.files[HERE]);
    assert.equal(own[ELSEWHERE], "Input/output error");
    assert.match(await daemon.run("explain", lazy.reference), /503/);

    proxy.rule = () => ({ kind: "status", status: 401 });
    const refused = await daemon.sums(KEYS.lazy, [ELSEWHERE, HERE]);
    assert.deepEqual(refused, { [ELSEWHERE]: "Input/output error", [HERE]: lazy.files[HERE] });
    assert.match(await daemon.run("explain", lazy.reference), /401|unauthenticated/);

    proxy.rule = undefined;
    // A failure is remembered for seconds.
    await until("it recovers", async () => {
      const { [ELSEWHERE]: sum } = await daemon.sums(KEYS.lazy, [ELSEWHERE]);
      return sum === lazy.files[ELSEWHERE];
    });
    assert.deepEqual(await daemon.sums(KEYS.lazy, Object.keys(lazy.files)), lazy.files);
    await daemon.stop();
    await state.reboot();
  });

  test("that is whole by now is all read after a reboot with the registry down", async () => {
    proxy.rule = () => ({ kind: "status", status: 503 });
    const daemon = await state.start();
    assert.deepEqual(await daemon.sums(KEYS.lazy, Object.keys(lazy.files)), lazy.files);
    await daemon.stop();
    await state.reboot();
  });

  test("after that is still what the earlier version reads", async () => {
    const { root } = state;
    assert.deepEqual(JSON.parse(await readFile(join(root, "format.json"), "utf8")), { format: 1 });
    for (const name of DATABASES)
      assert.equal(readFileSync(join(root, name)).readUInt32BE(USER_VERSION_AT), 1, name);
    assert.equal(await readFile(join(root, "store/format"), "utf8"), "1\n");
    for (const slot of readdirSync(join(root, "slots"))) {
      const text = readFileSync(join(root, "slots", slot, "slot.json"), "utf8");
      const { formatVersion, record, sources } = JSON.parse(text) as Record<string, unknown>;
      assert.equal(formatVersion, 1);
      assert.ok(record !== undefined && Array.isArray(sources));
      assert.equal(existsSync((record as { imagePath: string }).imagePath), true);
    }
    for (const path of filesNamed(join(root, "store/layers"), ["presence", "index"])) {
      const bytes = readFileSync(path);
      assert.match(bytes.toString("latin1", 0, 8), /^SOCI(LAYR|WHOL)$/, path);
      assert.equal(bytes.readUInt32LE(8), 1, path);
    }
  });

  test("whose databases are torn is started on: what is lost is said, containers' files are kept, layers come back", async () => {
    const { root } = state;
    for (const name of DATABASES) await writeFile(join(root, name), Buffer.alloc(20_000, 0xa5));
    const daemon = await state.start();
    for await (const { info } of daemon.snapshots.list({})) assert.deepEqual(info, []);
    const { errors } = JSON.parse(await daemon.run("--json", "status")) as { errors: object[] };
    assert.match(JSON.stringify(errors), /set aside.*repair IMAGE/);
    const [aside = ""] = readdirSync(root).filter((name) => name.startsWith("snapshots.damaged-"));
    assert.equal(existsSync(join(root, aside, "4/fs/written")), true);
    const labels = {
      "containerd.io/snapshot.ref": whole.chain[0] ?? "",
      "containerd.io/snapshot/cri.image-ref": whole.reference,
      "containerd.io/snapshot/cri.layer-digest": whole.layerDigests[0] ?? "",
      "containerd.io/snapshot/cri.manifest-digest": whole.manifestDigest,
    };
    proxy.rule = undefined;
    await assert.rejects(daemon.snapshots.prepare({ key: "extract", labels }), {
      code: "already_exists",
    });
    let parent = "";
    for await (const { info } of daemon.snapshots.list({})) parent = info[0]?.name ?? parent;
    await daemon.snapshots.prepare({ key: "anew", parent });
    assert.deepEqual(await daemon.sums("anew", Object.keys(whole.files)), whole.files);
    await daemon.stop();
  });
});

const DATABASES: readonly string[] = ["metadata.db", "layers.db", "store/catalogue.sqlite"];

/** In a SQLite file's header: the number of migrations. */
const USER_VERSION_AT = 60;

function filesNamed(directory: string, names: readonly string[]): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && names.includes(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

function sumOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
