import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type TestContext, test } from "node:test";
import { AppError, type ErrorCode } from "@soci-ts/core";
import { openStore, type Store } from "./index.ts";
import { createOwnerName } from "./process-owner.ts";
import { digestOfText, writeIndex } from "./testing/records.ts";

const TWO_DAYS_AGO = Date.now() / 1000 - 2 * 24 * 3600;

function newRoot(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "soci-store-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

async function newStore(t: TestContext, root = newRoot(t)): Promise<Store> {
  const store = await openStore(root);
  t.after(() => store.close());
  return store;
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof AppError && error.code === code;
}

function filesUnder(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" }).sort();
}

test("writeBlob() stores bytes under their digest, and readBlob() gives them back", async (t) => {
  const store = await newStore(t);
  const bytes = Buffer.from("some content");
  const { digest, sizeBytes } = await store.writeBlob(bytes);
  assert.equal(digest, digestOfText("some content"));
  assert.equal(sizeBytes, bytes.length);
  assert.equal(await store.hasBlob(digest), true);
  assert.deepEqual(await store.readBlob(digest), bytes);
  assert.deepEqual(readFileSync(store.blobPath(digest)), bytes);
  assert.deepEqual(await store.writeBlob(bytes), { digest, sizeBytes });
});

test("readBlob() refuses what is absent, too large or damaged, and writeBlob() mends it", async (t) => {
  const store = await newStore(t);
  await assert.rejects(store.readBlob(digestOfText("nothing")), hasCode("not_found"));
  assert.equal(await store.hasBlob(digestOfText("nothing")), false);
  const { digest } = await store.writeBlob(Buffer.from("twelve bytes"));
  await assert.rejects(store.readBlob(digest, { maxBytes: 11 }), hasCode("resource_exhausted"));
  assert.equal((await store.readBlob(digest, { maxBytes: 12 })).length, 12);
  for (const damage of [
    () => writeFileSync(store.blobPath(digest), "twelve bytez"),
    () => truncateSync(store.blobPath(digest), 5),
  ]) {
    damage();
    await assert.rejects(store.readBlob(digest), hasCode("data_loss"));
    await store.writeBlob(Buffer.from("twelve bytes"));
    assert.equal((await store.readBlob(digest)).length, 12);
  }
});

test("everything in a store is private", async (t) => {
  const root = join(newRoot(t), "deep", "store");
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const store = await newStore(t, root);
  await store.addIndex(await writeIndex(store, "a", ["x"]));
  await store.directory("layers");
  for (const name of [".", ...filesUnder(root)]) {
    const found = statSync(join(root, name));
    assert.equal(found.mode % 0o1000, found.isDirectory() ? 0o700 : 0o600, name);
  }
});

test("openStore() refuses a newer format without changing anything", async (t) => {
  const root = newRoot(t);
  await (await openStore(root)).close();
  writeFileSync(join(root, "format"), "2\n");
  rmSync(join(root, "tmp"), { recursive: true });
  const before = filesUnder(root);
  await assert.rejects(openStore(root), hasCode("failed_precondition"));
  assert.deepEqual(filesUnder(root), before);
  for (const text of ["x", "1.5", "-1", "0", "99999999999999999999"]) {
    writeFileSync(join(root, "format"), text);
    await assert.rejects(openStore(root), hasCode("failed_precondition"), JSON.stringify(text));
  }
});

test("openStore() refuses a newer catalogue without changing anything", async (t) => {
  const root = newRoot(t);
  await (await openStore(root)).close();
  const path = join(root, "catalogue.sqlite");
  const bytes = readFileSync(path);
  bytes.writeUInt32BE(77, 60);
  writeFileSync(path, bytes);
  rmSync(join(root, "tmp"), { recursive: true });
  const before = filesUnder(root);
  await assert.rejects(openStore(root), hasCode("failed_precondition"));
  assert.deepEqual(filesUnder(root), before);
});

test("openStore() goes on where a power cut lost the format, or if it may, the catalogue", async (t) => {
  const root = newRoot(t);
  await (await openStore(root)).close();
  for (const lost of ["", "\0\0", "1\0"]) {
    writeFileSync(join(root, "format"), lost);
    await (await openStore(root)).close();
  }
  writeFileSync(join(root, "catalogue.sqlite"), Buffer.alloc(40_960, 7));
  await assert.rejects(openStore(root), hasCode("data_loss"));
  const store = await openStore(root, { replaceDamaged: true });
  assert.deepEqual(store.listIndexes(), []);
  await store.close();
  const aside = filesUnder(root).filter((name) => name.includes("catalogue.sqlite.damaged-"));
  assert.equal(aside.length, 1);
});

test("openStore() refuses a directory that holds something else, or that others may write to", async (t) => {
  const foreign = newRoot(t);
  writeFileSync(join(foreign, "thesis.txt"), "");
  await assert.rejects(openStore(foreign), hasCode("failed_precondition"));
  assert.deepEqual(filesUnder(foreign), ["thesis.txt"]);
  for (const mode of [0o702, 0o720, 0o777]) {
    const open = newRoot(t);
    chmodSync(open, mode);
    await assert.rejects(openStore(open), hasCode("failed_precondition"));
    assert.deepEqual(filesUnder(open), []);
  }
  const file = join(newRoot(t), "file");
  writeFileSync(file, "");
  await assert.rejects(openStore(file), hasCode("already_exists"));
});

test("openStore() goes on after a first open that was killed", async (t) => {
  const root = newRoot(t);
  mkdirSync(join(root, "tmp"), { mode: 0o700 });
  writeFileSync(join(root, "tmp", createOwnerName()), "1");
  const store = await newStore(t, root);
  assert.deepEqual(store.listIndexes(), []);
});

test("addIndex() makes an index findable by every key", async (t) => {
  const root = newRoot(t);
  const store = await newStore(t, root);
  const a = await writeIndex(store, "a", ["x", "y"]);
  const b = { ...(await writeIndex(store, "b", ["y", "z"])), createdAt: new Date(1.8e12) };
  await store.addIndex(a);
  await store.addIndex(b);
  assert.deepEqual(store.listIndexes(), [b, a]);
  assert.deepEqual(store.listIndexes({ manifestDigest: a.manifestDigest }), [a]);
  assert.deepEqual(store.listIndexes({ reference: b.reference }), [b]);
  assert.deepEqual(store.listIndexes({ reference: "other" }), []);
  assert.deepEqual(store.getIndex(a.digest), a);
  assert.equal(store.getIndex(digestOfText("none")), undefined);
  const byDigest = new Map([...a.ztocs, ...b.ztocs].map((ztoc) => [ztoc.digest, ztoc]));
  const sorted = [...byDigest.values()].sort((p, q) => (p.digest < q.digest ? -1 : 1));
  assert.deepEqual(store.listZtocs(), sorted);
  assert.deepEqual(store.getZtoc(a.ztocs[1]!.digest), a.ztocs[1]);
  assert.equal(store.getZtoc(a.digest), undefined);
  assert.deepEqual(store.findZtoc(digestOfText("z"), 4194304), b.ztocs[1]);
  assert.equal(store.findZtoc(digestOfText("z"), 1), undefined);
  await store.close();
  await store.close();
  const again = await newStore(t, root);
  assert.deepEqual(again.listIndexes(), [b, a]);
});

test("addIndex() again adds a reference and takes the newest facts", async (t) => {
  const store = await newStore(t);
  const first = await writeIndex(store, "a", ["x"]);
  await store.addIndex(first);
  const second = { ...first, reference: "other.example/a:v2", createdAt: new Date(1.9e12) };
  await store.addIndex(second);
  assert.deepEqual(
    store.listIndexes().map(({ reference }) => reference),
    [second.reference, first.reference],
  );
  assert.equal(store.getIndex(first.digest)?.reference, second.reference);
  await store.addIndex(first);
  assert.equal(store.getIndex(first.digest)?.reference, first.reference);
  assert.equal(store.listIndexes().length, 2);
  await store.removeIndex(first.digest);
  assert.deepEqual(store.listIndexes(), []);
});

test("addIndex() refuses an index whose blobs are not there", async (t) => {
  const store = await newStore(t);
  const index = await writeIndex(store, "a", ["x"]);
  rmSync(store.blobPath(index.ztocs[0]!.digest));
  await assert.rejects(store.addIndex(index), hasCode("failed_precondition"));
  assert.deepEqual(store.listIndexes(), []);
});

test("removeIndex() deletes only the blobs that no other index names", async (t) => {
  const store = await newStore(t);
  const a = await writeIndex(store, "a", ["x", "shared"]);
  const b = await writeIndex(store, "b", ["y", "shared"]);
  await store.addIndex(a);
  await store.addIndex(b);
  await store.removeIndex(a.digest);
  const there = await Promise.all(
    [a.digest, b.digest, ...a.ztocs.map((z) => z.digest)].map((it) => store.hasBlob(it)),
  );
  assert.deepEqual(there, [false, true, false, true]);
  await assert.rejects(store.removeIndex(a.digest), hasCode("not_found"));
  await store.removeIndex(b.digest);
  assert.deepEqual(readdirSync(join(store.root, "blobs", "sha256")), []);
});

test("removeIndex() keeps a blob that another process has written and not named yet", async (t) => {
  const root = newRoot(t);
  const ours = await newStore(t, root);
  const theirs = await newStore(t, root);
  await ours.addIndex(await writeIndex(ours, "a", ["shared"]));
  const pending = await writeIndex(theirs, "b", ["shared"]);
  await ours.removeIndex(ours.listIndexes()[0]!.digest);
  assert.equal(await ours.hasBlob(pending.ztocs[0]!.digest), true);
  await theirs.addIndex(pending);
  await theirs.removeIndex(pending.digest);
  assert.equal(await ours.hasBlob(pending.ztocs[0]!.digest), false);
});

test("openStore() deletes the leftovers of dead processes and keeps those of living ones", async (t) => {
  const root = newRoot(t);
  const first = await newStore(t, root);
  const index = await writeIndex(first, "a", ["x"]);
  await first.addIndex(index);
  const held = await first.writeBlob(Buffer.from("held by a living process"));
  const alive = createOwnerName();
  const [boot, namespace] = alive.split("-");
  const dead = `${boot}-${namespace}-${process.pid}-1-00000000`;
  const elsewhere = `${boot}-1-${process.pid}-1-00000000`;
  const elsewhereOld = `${boot}-1-${process.pid}-1-11111111`;
  const otherBoot = `00000000-${namespace}-${process.pid}-1-00000000`;
  for (const name of [alive, dead, elsewhere, elsewhereOld, otherBoot, "stray"]) {
    writeFileSync(join(root, "tmp", name), "");
  }
  const orphan = join(root, "blobs", "sha256", digestOfText("old orphan").slice(7));
  const fresh = join(root, "blobs", "sha256", digestOfText("fresh orphan").slice(7));
  for (const path of [orphan, fresh]) writeFileSync(path, "");
  for (const path of [
    orphan,
    first.blobPath(index.digest),
    first.blobPath(held.digest),
    join(root, "tmp", elsewhereOld),
  ]) {
    utimesSync(path, TWO_DAYS_AGO, TWO_DAYS_AGO);
  }
  await newStore(t, root);
  assert.deepEqual(readdirSync(join(root, "tmp")).sort(), [alive, elsewhere, "stray"].sort());
  assert.equal(existsSync(orphan), false);
  assert.equal(existsSync(fresh), true);
  assert.equal(await first.hasBlob(index.digest), true);
  assert.equal(await first.hasBlob(held.digest), true);
});

test("directory() makes another room's directory once", async (t) => {
  const store = await newStore(t);
  const path = await store.directory("mounts");
  assert.equal(path, join(store.root, "mounts"));
  assert.equal(await store.directory("mounts"), path);
});

test("findZtoc() gives ztocs that were built here only", async (t) => {
  const store = await newStore(t);
  const index = await writeIndex(store, "app", ["layer"]);
  const [ztoc] = index.ztocs;
  assert.ok(ztoc !== undefined);
  await store.addIndex({ ...index, ztocs: [{ ...ztoc, builtHere: false }] });
  assert.equal(store.findZtoc(ztoc.layerDigest, ztoc.spanSizeBytes), undefined);
  assert.deepEqual(store.getZtoc(ztoc.digest), { ...ztoc, builtHere: false });
  await store.addIndex(index);
  assert.deepEqual(store.findZtoc(ztoc.layerDigest, ztoc.spanSizeBytes), ztoc);
});

test("openStore() leaves a catalogue that the version before opens too", async (t) => {
  const root = newRoot(t);
  await (await openStore(root)).close();
  assert.equal(readFileSync(join(root, "catalogue.sqlite")).readUInt32BE(60), 1, "user_version");
});

test("claimZtoc() gives a layer's ztoc to one at a time, and to all once it is made", async (t) => {
  const root = newRoot(t);
  const [first, second] = [await newStore(t, root), await newStore(t, root)];
  const layer = digestOfText("layer");
  assert.deepEqual(first.claimZtoc(layer, 1000), { kind: "ours" });
  assert.deepEqual(second.claimZtoc(layer, 1000), { kind: "theirs" });
  assert.deepEqual(first.claimZtoc(layer, 1000), { kind: "theirs" });
  assert.deepEqual(second.claimZtoc(layer, 2000), { kind: "ours" });
  first.settleClaim(layer, 1000, undefined);
  assert.deepEqual(second.claimZtoc(layer, 1000), { kind: "ours" });
  const made = await second.writeBlob(Buffer.from("ztoc"));
  second.settleClaim(layer, 1000, made);
  assert.deepEqual(first.claimZtoc(layer, 1000), { kind: "made", ...made });
  await second.close();
  assert.deepEqual(first.claimZtoc(layer, 1000), { kind: "ours" });
  assert.deepEqual(first.claimZtoc(layer, 2000), { kind: "ours" });
});

test("temporaryFile() makes a file without a name, to be written and read", async (t) => {
  const store = await newStore(t);
  await using file = await store.temporaryFile();
  assert.deepEqual(readdirSync(join(store.root, "tmp")), []);
  await file.write(Buffer.from("some bytes"), 0, 10, 5);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(20), 0, 20, 5);
  assert.equal(buffer.toString("latin1", 0, bytesRead), "some bytes");
  const { mode } = await file.stat();
  assert.equal(mode % 0o1000, 0o600);
});
