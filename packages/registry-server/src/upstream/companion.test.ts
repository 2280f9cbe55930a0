import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDigest, sha256 } from "@soci-ts/core";
import { eventually, startCompanion } from "../testing/companions.ts";
import { ask, codes, freshFolder, manifestOf, putBlob, putManifest } from "../testing/harness.ts";
import { startUpstream } from "../testing/upstream-server.ts";
import { openCompanion } from "./companion.ts";

describe("Companion.handle()", () => {
  it("asks the upstream that ns names, the first without it, and no other", async () => {
    await using first = await startUpstream();
    await using second = await startUpstream();
    await using test = await startCompanion([first, { url: second.url, name: "b.test:5000" }]);
    await putManifest(first.registry, "app", manifestOf([]), "v1");
    const other = manifestOf([], { annotations: { of: "b" } });
    await putManifest(second.registry, "app", other, "v1");
    const path = "/v2/app/manifests/v1";
    assert.deepEqual((await ask(test.companion, "GET", path)).bytes, manifestOf([]));
    const named = await ask(test.companion, "GET", `${path}?ns=b.test%3A5000`);
    assert.deepEqual(named.bytes, other);
    assert.deepEqual(second.requests, [`GET ${path}`]);
    for (const ns of ["evil.example", "127.0.0.1", "", "b.test:5000/x"]) {
      const refused = await ask(test.companion, "GET", `${path}?ns=${encodeURIComponent(ns)}`);
      assert.equal(refused.status, 404);
      assert.deepEqual(codes(refused), ["NAME_UNKNOWN"]);
    }
  });

  it("leaves a query as it is written, but for ns", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    await ask(test.companion, "GET", "/v2/app/tags/list?n=1&ns=up.test&last=a%2Bb");
    assert.deepEqual(upstream.requests, ["GET /v2/app/tags/list?n=1&last=a%2Bb"]);
  });

  it("gives links of pages that lead to itself", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    for (const tag of ["a", "b"]) await putManifest(upstream.registry, "app", manifestOf([]), tag);
    const page = await ask(test.companion, "GET", "/v2/app/tags/list?n=1&ns=up.test");
    assert.equal(page.headers["Link"], '</v2/app/tags/list?n=1&last=a&ns=up.test>; rel="next"');
  });

  it("refuses paths and names as the registry does, and asks nobody", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const paths = ["/v2/../x/manifests/v1", "/v2//evil.example/manifests/v1", "/v2/A/tags/list"];
    for (const path of paths) {
      const { status } = await ask(test.companion, "GET", path);
      assert.ok(status >= 400 && status < 500, `${path}: ${status}`);
    }
    assert.deepEqual(upstream.requests, []);
  });

  it("passes the client's login on, gives what is here to whom the upstream lets in, and for a while without it", async () => {
    await using upstream = await startUpstream({ login: "Basic right" });
    await using test = await startCompanion([upstream]);
    const bytes = Buffer.from("secret layer");
    const path = `/v2/app/blobs/${await putBlob(upstream.registry, "app", bytes)}`;
    const right = { headers: { authorization: "Basic right" } };
    const wrong = { headers: { authorization: "Basic wrong" } };
    assert.deepEqual((await ask(test.companion, "GET", path, right)).bytes, bytes);
    await eventually(async () => {
      const before = upstream.requests.length;
      await ask(test.companion, "GET", path, right);
      return upstream.requests.length === before;
    });
    for (const asked of [wrong, {}]) {
      const refused = await ask(test.companion, "GET", path, asked);
      assert.equal(refused.status, 401);
      assert.equal(refused.headers["Www-Authenticate"], 'Basic realm="upstream"');
      assert.equal(refused.headers["Content-Length"], String(refused.bytes.length));
      assert.deepEqual(codes(refused), ["UNAUTHORIZED"]);
    }
    await upstream.stop();
    assert.deepEqual((await ask(test.companion, "GET", path, right)).bytes, bytes);
    assert.equal((await ask(test.companion, "GET", path, wrong)).status, 503);
    assert.equal((await ask(test.companion, "GET", path)).status, 503);
  });

  it("logs in by itself where it has credentials, and keeps the client's to itself", async () => {
    const login = `Basic ${Buffer.from("us:pw").toString("base64")}`;
    await using upstream = await startUpstream({ login });
    const credentials = {
      find: async () => ({ kind: "basic", username: "us", password: "pw" }) as const,
    };
    await using test = await startCompanion([{ url: upstream.url, credentials }]);
    const path = `/v2/app/blobs/${await putBlob(upstream.registry, "app", Buffer.from("x"))}`;
    const headers = { authorization: "Basic ours", cookie: "session=1" };
    assert.equal((await ask(test.companion, "GET", path, { headers })).status, 200);
    assert.ok(!upstream.authorizations.includes("Basic ours"));
    assert.equal((await ask(test.companion, "GET", "/v2/")).status, 200);
  });

  it("asks no client for a login that is its own", async () => {
    await using upstream = await startUpstream({ login: "Basic other" });
    const credentials = { find: async () => undefined };
    await using test = await startCompanion([{ url: upstream.url, credentials }]);
    for (const path of ["/v2/app/tags/list", `/v2/app/blobs/${sha256(Buffer.from("x"))}`]) {
      const refused = await ask(test.companion, "GET", path);
      assert.equal(refused.status, 403);
      assert.equal(refused.headers["Www-Authenticate"], undefined);
    }
  });

  it("tells what is kept here by the names that clients use", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const digest = await putBlob(test.registry, "up.test/app", Buffer.alloc(1000));
    const facts = test.companion.facts(test.registry.facts);
    assert.equal(await facts.usedBytes("app"), 1000);
    assert.equal(await facts.usedBytes("up.test/app"), 0);
    assert.deepEqual(facts.holders(parseDigest(digest), 9), ["app"]);
  });

  it("gives nothing that is here to whom the upstream says that there is nothing", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const subject = { mediaType: "application/x.test", digest: sha256(Buffer.from("s")), size: 1 };
    const ours = await putManifest(test.registry, "up.test/app", manifestOf([], { subject }));
    const digest = await putManifest(upstream.registry, "app", manifestOf([]), "v1");
    const path = `/v2/app/manifests/${digest}`;
    const known = { headers: { authorization: "Basic known" } };
    assert.equal((await ask(test.companion, "GET", path, known)).status, 200);
    upstream.intercept = (request, response) => {
      if (request.headers.authorization === "Basic known") return false;
      response.writeHead(404, { "content-length": 0 }).end();
      return true;
    };
    for (const hidden of [path, `/v2/app/manifests/${ours}`, path]) {
      assert.equal((await ask(test.companion, "GET", hidden)).status, 404);
    }
    const referrers = `/v2/app/referrers/${subject.digest}`;
    assert.ok(!(await ask(test.companion, "GET", referrers)).bytes.includes(ours));
    assert.ok((await ask(test.companion, "GET", referrers, known)).bytes.includes(ours));
    const found = await ask(test.companion, "GET", `/v2/app/manifests/${ours}`, known);
    assert.equal(found.status, 200);
  });

  it("shares no answer to a condition with clients that have none", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const path = `/v2/app/blobs/${await putBlob(upstream.registry, "app", Buffer.from("x"))}`;
    const etag = `"${path.split("/").at(-1)}"`;
    const answers = await Promise.all([
      ask(test.companion, "GET", path, { headers: { "if-none-match": etag } }),
      ask(test.companion, "GET", path),
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [304, 200],
    );
  });

  it("follows no redirect into its own network", async () => {
    await using upstream = await startUpstream();
    await using other = await startUpstream();
    await using test = await startCompanion([upstream]);
    upstream.intercept = (_request, response) => {
      response.writeHead(307, { location: `${other.url.href}secret` }).end();
      return true;
    };
    const digest = sha256(Buffer.from("x"));
    for (const path of [`blobs/${digest}`, `manifests/${digest}`, "tags/list"]) {
      assert.equal((await ask(test.companion, "GET", `/v2/app/${path}`)).status, 502);
    }
    assert.deepEqual(other.requests, []);
    const trustedHosts = [other.host];
    await using trusting = await startCompanion([{ url: upstream.url, trustedHosts }]);
    await ask(trusting.companion, "GET", "/v2/app/tags/list");
    assert.deepEqual(other.requests, ["GET /secret"]);
  });

  it("says how to log in as the upstream does, and is a registry without it", async () => {
    await using upstream = await startUpstream({ login: "Basic right" });
    await using test = await startCompanion([upstream]);
    assert.equal((await ask(test.companion, "GET", "/v2/")).status, 401);
    await upstream.stop();
    assert.equal((await ask(test.companion, "GET", "/v2/")).status, 200);
  });
});

describe("openCompanion()", () => {
  it("wants upstreams of different names, which are hosts", async () => {
    await using folder = await freshFolder();
    const url = new URL("http://127.0.0.1:1");
    const nobody = { handle: async () => ({ status: 404, headers: {} }) };
    for (const names of [[], ["a.test", "a.test"], ["a.test:1", "a.test_1"], ["a/b"], ["A b"]]) {
      const upstreams = names.map((name) => ({ name, url }));
      const opened = openCompanion(folder.path, nobody, { upstreams, cacheBytes: 1 });
      await assert.rejects(opened, { code: "invalid_argument" });
    }
  });
});
