import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, type ErrorCode } from "@soci-ts/core";
import { backUpRegistry, restoreRegistry } from "./backup.ts";
import { checkRegistry } from "./fsck.ts";
import { openRegistryServer } from "./registry-server.ts";
import { ask, filesIn, freshFolder, manifestOf, putBlob, putManifest } from "./testing/harness.ts";

const hasCode = (code: ErrorCode) => (error: unknown) =>
  error instanceof AppError && error.code === code;

describe("backUpRegistry() and restoreRegistry()", () => {
  it("copy a root that is being served, again and again, and bring it back", async () => {
    await using folder = await freshFolder();
    const [root, backup, restored] = ["root", "backup", "restored"].map((name) =>
      join(folder.path, name),
    ) as [string, string, string];
    await using server = await openRegistryServer(root);
    const layer = await putBlob(server, "a", randomBytes(5000));
    await putManifest(server, "a", manifestOf([layer]), "v1");
    const first = await backUpRegistry(root, backup);
    assert.equal(first.linked + first.copied, 2);
    assert.deepEqual(first.damaged, []);
    const late = await putBlob(server, "a", randomBytes(700));
    await putManifest(server, "a", manifestOf([late]), "v2");
    await ask(server, "DELETE", "/v2/a/manifests/v1");
    await ask(server, "DELETE", `/v2/a/blobs/${layer}`);
    const second = await backUpRegistry(root, backup);
    assert.equal(second.linked + second.copied, 1);
    assert.equal(second.removed, 1);
    assert.deepEqual((await checkRegistry(backup)).faults, 0);
    const report = await restoreRegistry(backup, restored);
    assert.deepEqual([report.blobs, report.copied, report.copiedBytes], [2, 2, 702]);
    assert.deepEqual(
      (await checkRegistry(restored)).findings.map(({ kind }) => kind),
      ["dangling"],
    );
    await using again = await openRegistryServer(restored);
    const { bytes } = await ask(again, "GET", `/v2/a/blobs/${late}`);
    assert.deepEqual(bytes, await readFile(join(root, "blobs/sha256", late.slice(7))));
    assert.equal((await ask(again, "GET", "/v2/a/manifests/v2")).status, 200);
    assert.equal((await ask(again, "GET", "/v2/a/manifests/v1")).status, 404);
    const original = await stat(join(backup, "blobs/sha256", late.slice(7)));
    assert.notEqual((await stat(join(restored, "blobs/sha256", late.slice(7)))).ino, original.ino);
  });

  it("are one moment, whatever is pushed and deleted meanwhile", async () => {
    await using folder = await freshFolder();
    const [root, backup] = [join(folder.path, "root"), join(folder.path, "backup")];
    await using server = await openRegistryServer(root);
    let isDone = false;
    const changing = (async () => {
      for (let i = 0; !isDone; i++) {
        const layer = await putBlob(server, "a", randomBytes(500));
        const digest = await putManifest(server, "a", manifestOf([layer]));
        if (i % 2 === 0) continue;
        await ask(server, "DELETE", `/v2/a/manifests/${digest}`);
        await ask(server, "DELETE", `/v2/a/blobs/${layer}`);
      }
    })();
    for (let i = 0; i < 5; i++) {
      await backUpRegistry(root, backup);
      const report = await checkRegistry(backup);
      assert.deepEqual(report.findings, []);
    }
    isDone = true;
    await changing;
  });

  it("copy all but what is damaged, and name that", async () => {
    await using folder = await freshFolder();
    const [root, backup, restored] = ["root", "backup", "restored"].map((name) =>
      join(folder.path, name),
    ) as [string, string, string];
    {
      await using server = await openRegistryServer(root);
      await putBlob(server, "a", randomBytes(100));
      const cut = await putBlob(server, "a", randomBytes(200));
      await truncate(join(root, "blobs/sha256", cut.slice(7)), 5);
      assert.deepEqual((await backUpRegistry(root, backup)).damaged, [cut]);
      const restoring = await restoreRegistry(backup, restored);
      assert.deepEqual([restoring.copied, restoring.damaged], [1, [cut]]);
    }
    const [blob] = (await filesIn(backup)).filter((path) => path.startsWith("blobs/"));
    await writeFile(join(backup, blob!), randomBytes(100));
    const elsewhere = join(folder.path, "elsewhere");
    assert.equal((await restoreRegistry(backup, elsewhere)).damaged.length, 2);
  });

  it("refuse what is no backup, and to write over anything", async () => {
    await using folder = await freshFolder();
    const [root, backup] = [join(folder.path, "root"), join(folder.path, "backup")];
    await using server = await openRegistryServer(root);
    await putBlob(server, "a", randomBytes(100));
    await assert.rejects(backUpRegistry(join(folder.path, "absent"), backup), hasCode("not_found"));
    await assert.rejects(backUpRegistry(root, root), hasCode("failed_precondition"));
    await assert.rejects(restoreRegistry(root, join(folder.path, "x")), hasCode("not_found"));
    await backUpRegistry(root, backup);
    await assert.rejects(restoreRegistry(backup, root), hasCode("unavailable"));
    await server.close();
    await assert.rejects(restoreRegistry(backup, root), hasCode("already_exists"));
    await using served = await openRegistryServer(backup);
    await assert.rejects(backUpRegistry(root, backup), hasCode("unavailable"));
    assert.equal((await ask(served, "GET", "/v2/")).status, 200);
    await served.close();
    await writeFile(join(backup, "backup.json"), '{"format":2}');
    await assert.rejects(backUpRegistry(root, backup), hasCode("failed_precondition"));
  });
});
