import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { startCompanion } from "../testing/companions.ts";
import { ask, manifestOf, putManifest } from "../testing/harness.ts";
import { startUpstream } from "../testing/upstream-server.ts";

const REPOSITORY = "team/app";
const pathOf = (reference: string): string => `/v2/${REPOSITORY}/manifests/${reference}`;

describe("a manifest through the companion", () => {
  it("comes by digest from the cache, the upstream up or down", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = manifestOf([]);
    const digest = await putManifest(upstream.registry, REPOSITORY, bytes);
    const first = await ask(test.companion, "GET", pathOf(digest));
    assert.deepEqual(first.bytes, bytes);
    assert.equal(first.headers["Docker-Content-Digest"], digest);
    const asked = upstream.requests.length;
    assert.deepEqual((await ask(test.companion, "GET", pathOf(digest))).headers, first.headers);
    assert.equal(upstream.requests.length, asked);
    await upstream.stop();
    const down = await ask(test.companion, "GET", pathOf(digest));
    assert.deepEqual(down.bytes, bytes);
    assert.equal(down.headers["Warning"], undefined);
    const head = await ask(test.companion, "HEAD", pathOf(digest));
    assert.equal(head.headers["Content-Length"], String(bytes.length));
    const headers = { "if-none-match": first.headers["ETag"]! };
    assert.equal((await ask(test.companion, "GET", pathOf(digest), { headers })).status, 304);
  });

  it("by tag is asked of the upstream each time, and fetched only when it has changed", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
    await ask(test.companion, "GET", pathOf("v1"));
    await ask(test.companion, "GET", pathOf("v1"));
    assert.deepEqual(upstream.requests, [`GET ${pathOf("v1")}`, `HEAD ${pathOf("v1")}`]);
    const changed = manifestOf([], { annotations: { version: "2" } });
    await putManifest(upstream.registry, REPOSITORY, changed, "v1");
    assert.deepEqual((await ask(test.companion, "GET", pathOf("v1"))).bytes, changed);
    await ask(upstream.registry, "DELETE", pathOf("v1"));
    assert.equal((await ask(test.companion, "GET", pathOf("v1"))).status, 404);
  });

  it("by tag is given with a warning when the upstream is down, slow or in trouble", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream], { patienceMs: 300 });
    const bytes = manifestOf([]);
    await putManifest(upstream.registry, REPOSITORY, bytes, "v1");
    await ask(test.companion, "GET", pathOf("v1"));
    let status = 429;
    upstream.intercept = (_request, response) => {
      if (status > 0) response.writeHead(status).end();
      return true;
    };
    for (status of [429, 503, 0]) {
      const started = performance.now();
      const answer = await ask(test.companion, "GET", pathOf("v1"));
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.bytes, bytes);
      assert.match(answer.headers["Warning"] ?? "", /^299 - "Upstream up\.test cannot be asked/);
      assert.ok(performance.now() - started < 5_000);
    }
    const asked = upstream.requests.length;
    assert.equal((await ask(test.companion, "HEAD", pathOf("v1"))).status, 200);
    assert.equal(upstream.requests.length, asked, "it is left alone for a while");
    assert.equal((await ask(test.companion, "GET", pathOf("v2"))).status, 503);
  });

  it("is known by a tag that was only looked up, and then fetched by digest", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = manifestOf([]);
    const digest = await putManifest(upstream.registry, REPOSITORY, bytes, "v1");
    await ask(test.companion, "HEAD", pathOf("v1"));
    await ask(test.companion, "GET", pathOf(digest));
    await upstream.stop();
    const head = await ask(test.companion, "HEAD", pathOf("v1"));
    assert.equal(head.headers["Docker-Content-Digest"], digest);
    assert.deepEqual((await ask(test.companion, "GET", pathOf("v1"))).bytes, bytes);
  });

  it("still comes after a restart of the companion while the upstream is down", async () => {
    await using upstream = await startUpstream();
    await using first = await startCompanion([upstream]);
    const bytes = manifestOf([]);
    await putManifest(upstream.registry, REPOSITORY, bytes, "v1");
    await ask(first.companion, "GET", pathOf("v1"));
    await upstream.stop();
    const { root } = first;
    await first.companion.close();
    await first.registry.close();
    await using second = await startCompanion([upstream], { root });
    assert.deepEqual((await ask(second.companion, "GET", pathOf("v1"))).bytes, bytes);
  });

  it("is fetched once for clients that ask together", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
    const together = () =>
      Promise.all(Array.from({ length: 20 }, () => ask(test.companion, "GET", pathOf("v1"))));
    await together();
    assert.deepEqual(upstream.requests, [`GET ${pathOf("v1")}`]);
    await together();
    assert.deepEqual(upstream.requests.slice(1), [`HEAD ${pathOf("v1")}`]);
  });

  it("with wrong content is a 502, and is not kept", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const digest = await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
    upstream.intercept = (_request, response) => {
      response.writeHead(200, { "docker-content-digest": digest }).end("{}");
      return true;
    };
    for (const reference of [digest, "v1"]) {
      assert.equal((await ask(test.companion, "GET", pathOf(reference))).status, 502);
    }
    upstream.intercept = undefined;
    const right = await ask(test.companion, "GET", pathOf(digest));
    assert.equal(sha256(right.bytes), digest);
  });

  it("that was deleted through it does not come back", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const digest = await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
    await ask(test.companion, "GET", pathOf("v1"));
    assert.equal((await ask(test.companion, "DELETE", pathOf(digest))).status, 202);
    assert.equal((await ask(test.companion, "GET", pathOf(digest))).status, 404);
    assert.equal((await ask(test.companion, "GET", pathOf("v1"))).status, 404);
  });
});
