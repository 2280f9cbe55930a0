import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, truncate, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { openDatabase } from "@soci-ts/sqlite";
import { MIGRATIONS } from "./catalogue/schema.ts";
import { checkRegistry, type FsckReport } from "./fsck.ts";
import { openRegistryServer } from "./registry-server.ts";
import { ask, filesIn, freshFolder, manifestOf, putBlob, putManifest } from "./testing/harness.ts";

interface Filled extends AsyncDisposable {
  readonly path: string;
  readonly layer: string;
  readonly layerFile: string;
  readonly manifest: string;
}

/** A closed root with an image, and a layer in another repository. */
async function filledRoot(): Promise<Filled> {
  const folder = await freshFolder();
  await using server = await openRegistryServer(folder.path);
  const layer = await putBlob(server, "a", randomBytes(5000));
  const manifest = await putManifest(server, "a", manifestOf([layer]), "v1");
  await ask(server, "POST", `/v2/b/blobs/uploads/?mount=${layer}&from=a`);
  const layerFile = join(folder.path, "blobs/sha256", layer.slice(7));
  return { ...folder, layer, layerFile, manifest };
}

function change(root: string, sql: string): void {
  using database = openDatabase(join(root, "catalogue.sqlite"), { migrations: MIGRATIONS });
  database.prepare("PRAGMA foreign_keys = OFF").run();
  database.prepare(sql).run();
}

const kinds = (report: FsckReport): string[] =>
  report.findings.map(({ severity, kind }) => `${severity} ${kind}`);

describe("checkRegistry()", () => {
  it("finds nothing wrong with a healthy root, served or not", async () => {
    await using root = await filledRoot();
    const offline = await checkRegistry(root.path);
    assert.deepEqual(offline, {
      mode: "offline",
      repositories: 2,
      tags: 1,
      manifests: 1,
      blobs: 2,
      blobBytes: 5002,
      findings: [],
      faults: 0,
      leftovers: 0,
      notes: 0,
      repaired: 0,
    });
    await using server = await openRegistryServer(root.path);
    await ask(server, "POST", "/v2/a/blobs/uploads/");
    const online = await checkRegistry(root.path);
    assert.deepEqual(online, { ...offline, mode: "online" });
    await assert.rejects(
      checkRegistry(root.path, { repair: true }),
      (error) => error instanceof AppError && error.code === "unavailable",
    );
  });

  const faults: [name: string, kind: string, harm: (root: Filled) => Promise<void> | void][] = [
    ["a lost file", "fault blob_missing", (root) => unlink(root.layerFile)],
    ["a cut file", "fault blob_size", (root) => truncate(root.layerFile, 4999)],
    [
      "a flipped bit",
      "fault blob_damaged",
      async (root) => {
        const bytes = await readFile(root.layerFile);
        bytes[1234] = (bytes[1234] ?? 0) === 0 ? 1 : 0;
        await writeFile(root.layerFile, bytes);
      },
    ],
    [
      "changed bytes of a manifest",
      "fault manifest_damaged",
      (root) => change(root.path, "UPDATE content SET bytes = x'7b7d'"),
    ],
    [
      "a wrong subject",
      "fault manifest_facts",
      (root) => change(root.path, "UPDATE manifest SET subject = 'sha256:0'"),
    ],
    [
      "a tag without a manifest",
      "fault catalogue",
      (root) => change(root.path, "UPDATE tag SET digest = 'sha256:0'"),
    ],
    [
      "a damaged page",
      "fault catalogue",
      async (root) => {
        const path = join(root.path, "catalogue.sqlite");
        const bytes = await readFile(path);
        bytes.fill(0xee, 4096 * 2, 4096 * 8);
        await writeFile(path, bytes);
      },
    ],
  ];
  for (const [name, kind, harm] of faults) {
    it(`finds ${name}, and no repair pretends to mend it`, async () => {
      await using root = await filledRoot();
      await harm(root);
      for (const repair of [false, true]) {
        const report = await checkRegistry(root.path, { repair });
        assert.ok(kinds(report).includes(kind), JSON.stringify(report.findings));
        assert.ok(report.faults > 0);
        assert.equal(report.repaired, 0);
      }
    });
  }

  it("finds what manifests need and clients deleted, and calls it no fault", async () => {
    await using root = await filledRoot();
    {
      await using server = await openRegistryServer(root.path);
      await ask(server, "DELETE", `/v2/a/blobs/${root.layer}`);
    }
    const report = await checkRegistry(root.path);
    assert.deepEqual(kinds(report), ["note dangling"]);
    assert.equal(report.faults, 0);
    assert.match(report.findings[0]!.message, new RegExp(root.layer));
  });

  it("mends lost references: garbage collection goes by them", async () => {
    await using root = await filledRoot();
    change(root.path, "DELETE FROM reference");
    assert.deepEqual(kinds(await checkRegistry(root.path)), ["fault references"]);
    const repaired = await checkRegistry(root.path, { repair: true });
    assert.deepEqual([repaired.faults, repaired.repaired], [0, 1]);
    assert.deepEqual((await checkRegistry(root.path)).findings, []);
  });

  it("names leftovers, and removes them when it is told to, and nothing else", async () => {
    await using root = await filledRoot();
    const before = await filesIn(root.path);
    await mkdir(join(root.path, "uploads"), { recursive: true });
    for (const path of [
      `blobs/sha256/${"0".repeat(64)}`,
      "blobs/sha256/rubbish",
      "blobs/trash/x",
      "uploads/fresh",
      "uploads/old",
    ]) {
      await writeFile(join(root.path, path), "x");
    }
    await utimes(join(root.path, "uploads/old"), 1, 1);
    change(
      root.path,
      `INSERT INTO content (digest, bytes) VALUES ('sha256:${"1".repeat(64)}', x'')`,
    );
    change(root.path, `INSERT INTO blob VALUES ('sha256:${"0".repeat(64)}', 1, 1)`);
    const found = await checkRegistry(root.path);
    assert.equal(found.leftovers, 5);
    const repaired = await checkRegistry(root.path, { repair: true });
    assert.deepEqual(
      new Set(kinds(repaired).filter((kind) => kind.startsWith("leftover"))),
      new Set([
        "leftover unlinked_blob",
        "leftover trash",
        "leftover stray_file",
        "leftover idle_upload",
        "leftover unused_content",
      ]),
    );
    assert.equal(repaired.leftovers, 0);
    assert.deepEqual(await filesIn(root.path), [...before, "uploads/fresh"].sort());
    assert.deepEqual((await checkRegistry(root.path)).findings, []);
  });

  it("says if there is no registry", async () => {
    await using folder = await freshFolder();
    for (const path of [folder.path, join(folder.path, "absent")]) {
      await assert.rejects(
        checkRegistry(path),
        (error) => error instanceof AppError && error.code === "not_found",
      );
    }
  });
});
