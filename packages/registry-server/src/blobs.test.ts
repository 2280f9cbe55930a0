import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { closeSync, readFileSync } from "node:fs";
import { rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { digestOf, sha256 } from "@soci-ts/core";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { ask, codes, filesIn, freshFolder, putBlob } from "./testing/harness.ts";

describe("/v2/<name>/blobs/<digest>", () => {
  let folder: Awaited<ReturnType<typeof freshFolder>>;
  let server: RegistryServer;
  const bytes = randomBytes(5000);
  const digest = sha256(bytes);
  const url = `/v2/a/b/blobs/${digest}`;

  before(async () => {
    folder = await freshFolder();
    server = await openRegistryServer(folder.path);
    await putBlob(server, "a/b", bytes);
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  });

  it("GET gives the bytes with their digest, HEAD the same headers", async () => {
    const got = await ask(server, "GET", url);
    assert.equal(got.status, 200);
    assert.deepEqual(got.bytes, bytes);
    assert.equal(got.headers["Docker-Content-Digest"], digest);
    assert.equal(got.headers["Content-Length"], "5000");
    assert.equal(got.headers["Accept-Ranges"], "bytes");
    const head = await ask(server, "HEAD", url);
    assert.equal(head.status, 200);
    assert.equal(head.bytes.length, 0);
    assert.deepEqual(head.headers, got.headers);
  });

  const ranges: [range: string, start: number, end: number][] = [
    ["bytes=0-0", 0, 1],
    ["bytes=100-199", 100, 200],
    ["bytes=4990-", 4990, 5000],
    ["bytes=-10", 4990, 5000],
    ["bytes=4990-9999", 4990, 5000],
  ];
  for (const [range, start, end] of ranges) {
    it(`GET sends 206 for ${range}`, async () => {
      const got = await ask(server, "GET", url, { headers: { range } });
      assert.equal(got.status, 206);
      assert.equal(got.headers["Content-Range"], `bytes ${start}-${end - 1}/5000`);
      assert.equal(got.headers["Content-Length"], String(end - start));
      assert.deepEqual(got.bytes, bytes.subarray(start, end));
    });
  }

  it("GET answers 416 with the size to a range outside", async () => {
    const got = await ask(server, "GET", url, { headers: { range: "bytes=5000-" } });
    assert.equal(got.status, 416);
    assert.equal(got.headers["Content-Range"], "bytes */5000");
    assert.deepEqual(codes(got), ["SIZE_INVALID"]);
  });

  it("GET sends all when it does not serve the kind of range, or If-Range names other bytes", async () => {
    const several = await ask(server, "GET", url, { headers: { range: "bytes=0-1,3-4" } });
    assert.equal(several.status, 200);
    const stale = { range: "bytes=0-1", "if-range": '"sha256:other"' };
    assert.equal((await ask(server, "GET", url, { headers: stale })).status, 200);
    const fresh = { range: "bytes=0-1", "if-range": `"${digest}"` };
    assert.equal((await ask(server, "GET", url, { headers: fresh })).status, 206);
  });

  it("answers 304 to If-None-Match", async () => {
    for (const etag of [`"${digest}"`, `W/"${digest}"`, "*", `"x", "${digest}"`]) {
      const got = await ask(server, "GET", url, { headers: { "if-none-match": etag } });
      assert.equal(got.status, 304, etag);
    }
    const other = await ask(server, "GET", url, { headers: { "if-none-match": '"x"' } });
    assert.equal(other.status, 200);
  });

  it("a repository does not show another one's blobs", async () => {
    const got = await ask(server, "GET", `/v2/other/blobs/${digest}`);
    assert.equal(got.status, 404);
    assert.deepEqual(codes(got), ["BLOB_UNKNOWN"]);
    assert.equal((await ask(server, "HEAD", `/v2/other/blobs/${digest}`)).status, 404);
  });

  it("refuses other methods and names the right ones", async () => {
    const got = await ask(server, "PATCH", url);
    assert.equal(got.status, 405);
    assert.equal(got.headers["Allow"], "GET, HEAD, DELETE");
    assert.deepEqual(codes(got), ["UNSUPPORTED"]);
  });

  it("serves the empty blob and sha512 digests", async () => {
    const empty = await putBlob(server, "a/b", new Uint8Array());
    const got = await ask(server, "GET", `/v2/a/b/blobs/${empty}`);
    assert.equal(got.status, 200);
    assert.equal(got.headers["Content-Length"], "0");
    const long = digestOf(bytes, "sha512");
    const post = await ask(server, "POST", `/v2/a/b/blobs/uploads/?digest=${long}`, {
      body: bytes,
    });
    assert.equal(post.status, 201);
    assert.equal(post.headers["Location"], `/v2/a/b/blobs/${long}`);
    const served = await ask(server, "GET", `/v2/a/b/blobs/${long}`);
    assert.deepEqual(served.bytes, bytes);
    assert.equal(served.headers["Docker-Content-Digest"], long);
  });

  it("DELETE takes it from one repository, and removes the file with the last one", async () => {
    const content = randomBytes(100);
    const gone = await putBlob(server, "one", content);
    const file = `blobs/${gone.replace(":", "/")}`;
    assert.equal(
      (await ask(server, "POST", `/v2/two/blobs/uploads/?mount=${gone}&from=one`)).status,
      201,
    );
    assert.equal((await ask(server, "DELETE", `/v2/one/blobs/${gone}`)).status, 202);
    assert.equal((await ask(server, "GET", `/v2/one/blobs/${gone}`)).status, 404);
    assert.deepEqual((await ask(server, "GET", `/v2/two/blobs/${gone}`)).bytes, content);
    assert.ok((await filesIn(folder.path)).includes(file));
    assert.equal((await ask(server, "DELETE", `/v2/two/blobs/${gone}`)).status, 202);
    assert.ok(!(await filesIn(folder.path)).includes(file));
    const again = await ask(server, "DELETE", `/v2/two/blobs/${gone}`);
    assert.equal(again.status, 404);
    assert.deepEqual(codes(again), ["BLOB_UNKNOWN"]);
  });

  it("a reader that began before a DELETE gets its bytes", async () => {
    const content = randomBytes(3000);
    const gone = await putBlob(server, "one", content);
    const response = await server.handle({
      method: "GET",
      url: `/v2/one/blobs/${gone}`,
      headers: {},
      body: (async function* () {})(),
    });
    await ask(server, "DELETE", `/v2/one/blobs/${gone}`);
    assert.ok(response.body?.kind === "file");
    const { descriptor } = response.body;
    assert.deepEqual(readFileSync(descriptor), content);
    closeSync(descriptor);
  });

  it("a file that was lost or cut is 404, and pushing it again mends that", async () => {
    const content = randomBytes(100);
    const lost = await putBlob(server, "one", content);
    const file = join(folder.path, "blobs", lost.replace(":", "/"));
    for (const harm of [() => rm(file), () => truncate(file, 50)]) {
      await harm();
      assert.equal((await ask(server, "HEAD", `/v2/one/blobs/${lost}`)).status, 404);
      assert.equal((await ask(server, "GET", `/v2/one/blobs/${lost}`)).status, 404);
      await putBlob(server, "one", content);
      assert.deepEqual((await ask(server, "GET", `/v2/one/blobs/${lost}`)).bytes, content);
    }
  });
});
