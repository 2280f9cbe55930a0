import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { checkRegistry } from "./fsck.ts";
import type { GarbagePolicy } from "./gc.ts";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { ask, filesIn, freshFolder, manifestOf, putBlob, putManifest } from "./testing/harness.ts";

/** In the future, so that nothing is too young. */
const AT_ONCE = -1000;
const HOUR_MS = 3_600_000;

const openWith = (root: string, policy: GarbagePolicy): Promise<RegistryServer> =>
  openRegistryServer(root, { gc: { policy, intervalMs: 0 } });

const statusOf = async (server: RegistryServer, path: string): Promise<number> =>
  (await ask(server, "GET", path)).status;

async function putIndex(
  server: RegistryServer,
  repository: string,
  entries: readonly string[],
  tag?: string,
): Promise<string> {
  const manifests = entries.map((digest) => ({
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    digest,
    size: 1,
  }));
  const body = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests }),
  );
  const url = `/v2/${repository}/manifests/${tag ?? sha256(body)}`;
  const headers = { "content-type": MEDIA_TYPE_OCI_INDEX };
  assert.equal((await ask(server, "PUT", url, { body, headers })).status, 201);
  return sha256(body);
}

const referrerOf = (subject: string, name: string): Buffer =>
  manifestOf([], {
    subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: subject, size: 1 },
    annotations: { name },
  });

describe("collectGarbage(), blobs", () => {
  it("removes what no manifest of the repository needs, and the file when no repository has it", async () => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: AT_ONCE });
    const used = await putBlob(server, "a", randomBytes(100));
    const shared = await putBlob(server, "a", randomBytes(100));
    const unused = await putBlob(server, "a", randomBytes(300));
    await ask(server, "POST", `/v2/b/blobs/uploads/?mount=${shared}&from=a`);
    await putManifest(server, "a", manifestOf([used]), "v1");
    await putManifest(server, "b", manifestOf([shared]));
    const report = await server.collectGarbage();
    assert.deepEqual(report, { blobs: 1, freedBytes: 300, manifests: 0, referrers: 0 });
    assert.equal(await statusOf(server, `/v2/a/blobs/${used}`), 200);
    assert.equal(await statusOf(server, `/v2/a/blobs/${shared}`), 404);
    assert.equal(await statusOf(server, `/v2/b/blobs/${shared}`), 200);
    assert.equal(await statusOf(server, `/v2/a/blobs/${unused}`), 404);
    assert.equal((await filesIn(folder.path)).length, 3);
  });

  it("keeps by default what is younger than a day", async () => {
    await using folder = await freshFolder();
    await using server = await openRegistryServer(folder.path);
    const blob = await putBlob(server, "a", randomBytes(100));
    assert.equal((await server.collectGarbage()).blobs, 0);
    assert.equal(await statusOf(server, `/v2/a/blobs/${blob}`), 200);
  });

  it("begins the grace time anew at a HEAD, a mount, a push of the same blob, and the loss of a manifest", async (t) => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: HOUR_MS });
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
    const blobs: string[] = [];
    for (let i = 0; i < 5; i++) blobs.push(await putBlob(server, "a", Buffer.from(`blob ${i}`)));
    const [asked, mounted, pushed, needed, left] = blobs as [
      string,
      string,
      string,
      string,
      string,
    ];
    const manifest = await putManifest(server, "a", manifestOf([needed]));
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await ask(server, "HEAD", `/v2/a/blobs/${asked}`)).status, 200);
    await ask(server, "POST", `/v2/a/blobs/uploads/?mount=${mounted}&from=a`);
    await putBlob(server, "a", Buffer.from("blob 2"));
    await ask(server, "DELETE", `/v2/a/manifests/${manifest}`);
    assert.equal((await server.collectGarbage()).blobs, 1);
    assert.equal(await statusOf(server, `/v2/a/blobs/${left}`), 404);
    await putManifest(server, "a", manifestOf([asked, mounted, pushed, needed]));
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).blobs, 0);
  });

  it("never takes a blob from a push, however often it runs", async () => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: HOUR_MS });
    let isDone = false;
    const collecting = (async () => {
      while (!isDone) await server.collectGarbage();
    })();
    for (let i = 0; i < 30; i++) {
      const layer = await putBlob(server, "a", Buffer.from(`layer ${i % 3}`));
      const digest = await putManifest(
        server,
        "a",
        manifestOf([layer], { annotations: { i: `${i}` } }),
      );
      await ask(server, "DELETE", `/v2/a/manifests/${digest}`);
    }
    isDone = true;
    await collecting;
  });

  it("pushes and removals of the same blob at once leave a row with its file, or neither", async () => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: AT_ONCE });
    const bytes = Buffer.from("pushed and collected again and again");
    const push = async (repository: string): Promise<void> => {
      for (let i = 0; i < 40; i++) await putBlob(server, repository, bytes);
    };
    let isDone = false;
    const collecting = (async () => {
      let blobs = 0;
      while (!isDone) blobs += (await server.collectGarbage()).blobs;
      return blobs;
    })();
    for (let i = 0; i < 3; i++) {
      await Promise.all([push("a"), push("b")]);
      assert.deepEqual((await checkRegistry(folder.path)).findings, []);
    }
    isDone = true;
    assert.ok((await collecting) > 10);
  });

  it("lets requests through between its steps", async () => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: HOUR_MS });
    for (let i = 0; i < 6; i++) await putBlob(server, `r${i}`, Buffer.from("x"));
    let answers = 0;
    let isDone = false;
    const asking = (async () => {
      while (!isDone) {
        await new Promise((resolve) => setImmediate(resolve));
        answers += (await statusOf(server, "/v2/")) === 200 ? 1 : 0;
      }
    })();
    await Promise.all([server.collectGarbage(), server.collectGarbage()]);
    isDone = true;
    await asking;
    assert.ok(answers > 0);
  });
});

describe("collectGarbage(), untagged manifests", () => {
  it("keeps them unless the policy says otherwise", async () => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: AT_ONCE, orphanKeepMs: AT_ONCE });
    const digest = await putManifest(server, "a", manifestOf([]));
    assert.equal((await server.collectGarbage()).manifests, 0);
    assert.equal(await statusOf(server, `/v2/a/manifests/${digest}`), 200);
  });

  it("removes by policy what no tag, no index and no subject stands for", async (t) => {
    await using folder = await freshFolder();
    await using server = await openWith(folder.path, { graceMs: HOUR_MS, untaggedKeepMs: HOUR_MS });
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
    const put = (name: string, tag?: string): Promise<string> =>
      putManifest(server, "a", manifestOf([], { annotations: { name } }), tag);
    const tagged = await put("tagged", "v1");
    const moved = await put("moved", "v2");
    const untagged = await put("untagged");
    const entry = await put("entry");
    const index = await putIndex(server, "a", [entry], "multi");
    const referrer = await putManifest(server, "a", referrerOf(tagged, "signature"));
    t.mock.timers.tick(2 * HOUR_MS);
    await put("other", "v2");
    assert.equal((await server.collectGarbage()).manifests, 1);
    assert.equal(await statusOf(server, `/v2/a/manifests/${untagged}`), 404);
    for (const digest of [tagged, moved, entry, index, referrer]) {
      assert.equal(await statusOf(server, `/v2/a/manifests/${digest}`), 200);
    }
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).manifests, 1);
    assert.equal(await statusOf(server, `/v2/a/manifests/${moved}`), 404);
    assert.equal((await ask(server, "DELETE", "/v2/a/manifests/multi")).status, 202);
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).manifests, 1);
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).manifests, 1);
    assert.equal(await statusOf(server, `/v2/a/manifests/${entry}`), 404);
  });
});

describe("collectGarbage(), referrers", () => {
  it("removes them a while after their subject was removed, and theirs after them", async (t) => {
    await using folder = await freshFolder();
    const policy = { graceMs: HOUR_MS, orphanKeepMs: 10 * HOUR_MS };
    await using server = await openWith(folder.path, policy);
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
    const image = await putManifest(server, "a", manifestOf([]), "v1");
    const sbom = await putManifest(server, "a", referrerOf(image, "sbom"));
    const signature = await putManifest(server, "a", referrerOf(sbom, "signature"));
    const tagged = await putManifest(server, "a", referrerOf(image, "tagged"), "keep");
    const absent = await putManifest(server, "a", referrerOf(sha256(Buffer.from("x")), "far"));
    t.mock.timers.tick(20 * HOUR_MS);
    assert.equal((await server.collectGarbage()).referrers, 0);
    await ask(server, "DELETE", `/v2/a/manifests/${image}`);
    t.mock.timers.tick(9 * HOUR_MS);
    assert.equal((await server.collectGarbage()).referrers, 0);
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).referrers, 1);
    assert.equal(await statusOf(server, `/v2/a/manifests/${sbom}`), 404);
    assert.equal(await statusOf(server, `/v2/a/manifests/${signature}`), 200);
    t.mock.timers.tick(11 * HOUR_MS);
    assert.equal((await server.collectGarbage()).referrers, 1);
    assert.equal(await statusOf(server, `/v2/a/manifests/${signature}`), 404);
    for (const digest of [tagged, absent]) {
      assert.equal(await statusOf(server, `/v2/a/manifests/${digest}`), 200);
    }
  });

  it("keeps them if their subject is pushed again in time, and reads through many in steps", async (t) => {
    await using folder = await freshFolder();
    const policy = { graceMs: HOUR_MS, orphanKeepMs: HOUR_MS };
    await using server = await openWith(folder.path, policy);
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
    const image = await putManifest(server, "a", manifestOf([]), "v1");
    const headers = { "content-type": MEDIA_TYPE_OCI_MANIFEST };
    for (let i = 0; i < 150; i++) {
      const body = referrerOf(image, String(i));
      await ask(server, "PUT", `/v2/a/manifests/${sha256(body)}`, { body, headers });
    }
    await ask(server, "DELETE", `/v2/a/manifests/${image}`);
    await putManifest(server, "a", manifestOf([]), "v1");
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).referrers, 0);
    await ask(server, "DELETE", `/v2/a/manifests/${image}`);
    t.mock.timers.tick(2 * HOUR_MS);
    assert.equal((await server.collectGarbage()).referrers, 150);
    assert.equal((await server.collectGarbage()).referrers, 0);
  });
});
