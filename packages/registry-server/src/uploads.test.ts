import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { digestOf, sha256 } from "@soci-ts/core";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { SpecError } from "./spec-error.ts";
import { ask, broken, codes, filesIn, freshFolder, pieces, putBlob } from "./testing/harness.ts";
import { Uploads } from "./uploads.ts";

describe("/v2/<name>/blobs/uploads/", () => {
  let folder: Awaited<ReturnType<typeof freshFolder>>;
  let server: RegistryServer;
  const bytes = randomBytes(10_000);
  const digest = sha256(bytes);

  before(async () => {
    folder = await freshFolder();
    server = await openRegistryServer(folder.path);
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  });

  const start = async (query = ""): Promise<string> => {
    const answer = await ask(server, "POST", `/v2/r/blobs/uploads/${query}`);
    assert.equal(answer.status, 202);
    return answer.headers["Location"]!;
  };
  const patch = (url: string, body: Uint8Array, contentRange?: string) =>
    ask(server, "PATCH", url, {
      body,
      ...(contentRange !== undefined && { headers: { "content-range": contentRange } }),
    });
  const nothingLeft = async (): Promise<void> =>
    assert.deepEqual(
      (await filesIn(folder.path)).filter((path) => path.startsWith("uploads/")),
      [],
    );

  it("takes a blob by POST and PUT", async () => {
    const url = await start();
    assert.match(url, /^\/v2\/r\/blobs\/uploads\/[0-9a-f-]{36}$/);
    const put = await ask(server, "PUT", `${url}?digest=${digest}`, { body: bytes });
    assert.equal(put.status, 201);
    assert.equal(put.headers["Location"], `/v2/r/blobs/${digest}`);
    assert.equal(put.headers["Docker-Content-Digest"], digest);
    assert.deepEqual((await ask(server, "GET", `/v2/r/blobs/${digest}`)).bytes, bytes);
    assert.equal((await ask(server, "GET", url)).status, 404);
    await nothingLeft();
  });

  it("tells how long chunks should be, and takes shorter ones", async () => {
    const answer = await ask(server, "POST", "/v2/r/blobs/uploads/");
    assert.equal(answer.headers["OCI-Chunk-Min-Length"], "65536");
    const url = answer.headers["Location"]!;
    assert.equal((await patch(url, bytes.subarray(0, 1), "0-0")).status, 202);
    assert.equal((await patch(url, bytes.subarray(1), "1-9999")).status, 202);
    assert.equal((await ask(server, "PUT", `${url}?digest=${digest}`)).status, 201);
  });

  it("takes chunks in order, the last one with the PUT, and tells how far it is", async () => {
    const content = randomBytes(3000);
    const url = await start();
    assert.equal((await ask(server, "GET", url)).headers["Range"], "0-0");
    const first = await patch(url, content.subarray(0, 1000), "0-999");
    assert.equal(first.status, 202);
    assert.equal(first.headers["Range"], "0-999");
    assert.equal(first.headers["Location"], url);
    assert.equal((await patch(url, content.subarray(1000, 2500), "1000-2499")).status, 202);
    const status = await ask(server, "GET", url);
    assert.equal(status.status, 204);
    assert.equal(status.headers["Range"], "0-2499");
    const put = await ask(server, "PUT", `${url}?digest=${sha256(content)}`, {
      body: content.subarray(2500),
      headers: { "content-range": "2500-2999" },
    });
    assert.equal(put.status, 201);
  });

  it("appends chunks that have no Content-Range", async () => {
    const content = randomBytes(3000);
    const url = await start();
    await patch(url, content.subarray(0, 2000));
    assert.equal((await patch(url, content.subarray(2000))).headers["Range"], "0-2999");
    assert.equal((await ask(server, "PUT", `${url}?digest=${sha256(content)}`)).status, 201);
  });

  it("answers 416 to a chunk out of order and says where to go on", async () => {
    const url = await start();
    await patch(url, bytes.subarray(0, 1000), "0-999");
    for (const wrong of ["0-999", "1001-2000", "999-1998"]) {
      const answer = await patch(url, bytes.subarray(0, 1000), wrong);
      assert.equal(answer.status, 416, wrong);
      assert.equal(answer.headers["Range"], "0-999");
      assert.equal(answer.headers["Location"], url);
      assert.deepEqual(codes(answer), ["BLOB_UPLOAD_INVALID"]);
    }
    const put = await ask(server, "PUT", `${url}?digest=${digest}`, {
      body: bytes.subarray(5000),
      headers: { "content-range": "5000-9999" },
    });
    assert.equal(put.status, 416);
    await patch(url, bytes.subarray(1000), "1000-9999");
    assert.equal((await ask(server, "PUT", `${url}?digest=${digest}`)).status, 201);
  });

  it("refuses a chunk that is not what its headers say, and keeps nothing of it", async () => {
    const url = await start();
    await patch(url, bytes.subarray(0, 1000), "0-999");
    const rest = bytes.subarray(1000, 3000);
    assert.deepEqual(codes(await patch(url, rest, "1000-1999")), ["SIZE_INVALID"]);
    assert.deepEqual(codes(await patch(url, rest, "rubbish")), ["SIZE_INVALID"]);
    for (const range of ["1000-1999", "1000-5999"]) {
      const answer = await ask(server, "PATCH", url, {
        body: pieces(rest),
        headers: { "content-range": range },
      });
      assert.equal(answer.status, 400);
      assert.deepEqual(codes(answer), ["SIZE_INVALID"]);
      assert.equal((await ask(server, "GET", url)).headers["Range"], "0-999");
    }
    await patch(url, bytes.subarray(1000), "1000-9999");
    assert.equal((await ask(server, "PUT", `${url}?digest=${digest}`)).status, 201);
  });

  it("goes on after a request that broke off", async () => {
    const url = await start();
    const cut = await ask(server, "PATCH", url, {
      body: broken(bytes.subarray(0, 4000)),
      headers: { "content-range": "0-9999", "content-length": "10000" },
    });
    assert.deepEqual(codes(cut), ["BLOB_UPLOAD_INVALID"]);
    const { headers } = await ask(server, "GET", url);
    assert.equal(headers["Range"], "0-3999");
    await patch(url, bytes.subarray(4000), "4000-9999");
    assert.equal((await ask(server, "PUT", `${url}?digest=${digest}`)).status, 201);
  });

  it("DELETE cancels", async () => {
    const url = await start();
    await patch(url, bytes);
    assert.equal((await ask(server, "DELETE", url)).status, 204);
    assert.deepEqual(codes(await ask(server, "GET", url)), ["BLOB_UPLOAD_UNKNOWN"]);
    assert.equal((await ask(server, "DELETE", url)).status, 404);
    await nothingLeft();
  });

  it("refuses a wrong digest and leaves nothing", async () => {
    const other = sha256(Buffer.from("other"));
    const url = await start();
    const put = await ask(server, "PUT", `${url}?digest=${other}`, { body: bytes });
    assert.equal(put.status, 400);
    assert.deepEqual(codes(put), ["DIGEST_INVALID"]);
    const post = await ask(server, "POST", `/v2/r/blobs/uploads/?digest=${other}`, { body: bytes });
    assert.deepEqual(codes(post), ["DIGEST_INVALID"]);
    const cut = await ask(server, "POST", `/v2/r/blobs/uploads/?digest=${other}`, {
      body: broken(bytes),
    });
    assert.deepEqual(codes(cut), ["BLOB_UPLOAD_INVALID"]);
    assert.equal((await ask(server, "HEAD", `/v2/r/blobs/${other}`)).status, 404);
    await nothingLeft();
  });

  it("refuses digests that are none, before it reads the body", async () => {
    const url = await start();
    for (const query of [
      "",
      "?digest=",
      "?digest=sha256:1",
      `?digest=md5:${"0".repeat(32)}`,
      "?digest=../../x",
    ]) {
      const unread = broken(new Uint8Array());
      const put = await ask(server, "PUT", url + query, { body: unread });
      assert.deepEqual(codes(put), ["DIGEST_INVALID"], query);
    }
    await ask(server, "DELETE", url);
    const post = await ask(server, "POST", "/v2/r/blobs/uploads/?digest-algorithm=md5");
    assert.deepEqual(codes(post), ["DIGEST_INVALID"]);
  });

  it("verifies by the digest's algorithm whatever was announced", async () => {
    const long = digestOf(bytes, "sha512");
    for (const query of ["", "?digest-algorithm=sha512"]) {
      for (const final of [long, digest]) {
        const url = await start(query);
        assert.equal(
          (await ask(server, "PUT", `${url}?digest=${final}`, { body: bytes })).status,
          201,
        );
      }
    }
  });

  it("knows an upload only by its own repository and a well-formed id", async () => {
    const url = await start();
    const id = url.split("/").at(-1)!;
    for (const wrong of [
      `/v2/other/blobs/uploads/${id}`,
      `/v2/r/blobs/uploads/${id.toUpperCase()}`,
      "/v2/r/blobs/uploads/..",
      "/v2/r/blobs/uploads/..%2f..%2fcatalogue.sqlite",
      "/v2/r/blobs/uploads/x",
    ]) {
      for (const method of ["GET", "PATCH", "DELETE"]) {
        assert.equal((await ask(server, method, wrong, { body: bytes })).status, 404, wrong);
      }
    }
    assert.equal((await ask(server, "DELETE", url)).status, 204);
  });

  it("refuses a second writer while one is at it", async () => {
    const url = await start();
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = (async function* () {
      yield bytes.subarray(0, 5000);
      await gate;
      yield bytes.subarray(5000);
    })();
    const first = ask(server, "PUT", `${url}?digest=${digest}`, { body: slow });
    const second = await patch(url, bytes);
    assert.equal(second.status, 409);
    assert.equal((await ask(server, "DELETE", url)).status, 409);
    release();
    assert.equal((await first).status, 201);
  });

  it("mounts from a named repository or any, else begins an upload", async () => {
    const content = randomBytes(200);
    const mounted = await putBlob(server, "source", content);
    const named = await ask(server, "POST", `/v2/m1/blobs/uploads/?mount=${mounted}&from=source`);
    assert.equal(named.status, 201);
    assert.equal(named.headers["Location"], `/v2/m1/blobs/${mounted}`);
    assert.deepEqual((await ask(server, "GET", `/v2/m1/blobs/${mounted}`)).bytes, content);
    assert.equal((await ask(server, "POST", `/v2/m2/blobs/uploads/?mount=${mounted}`)).status, 201);
    for (const query of [`mount=${mounted}&from=empty`, `mount=${sha256(randomBytes(9))}`]) {
      const begun = await ask(server, "POST", `/v2/m3/blobs/uploads/?${query}`);
      assert.equal(begun.status, 202);
      await ask(server, "DELETE", begun.headers["Location"]!);
    }
    const bad = await ask(server, "POST", `/v2/m3/blobs/uploads/?mount=${mounted}&from=../x`);
    assert.deepEqual(codes(bad), ["NAME_INVALID"]);
    assert.deepEqual(codes(await ask(server, "POST", "/v2/m3/blobs/uploads/?mount=x")), [
      "DIGEST_INVALID",
    ]);
    assert.equal((await ask(server, "GET", "/v2/m3/tags/list")).status, 404);
  });

  it("stores one blob once when many push it at the same time, while others delete it", async () => {
    const content = randomBytes(50_000);
    const same = sha256(content);
    const pushes = Array.from({ length: 20 }, async () => {
      const post = await ask(server, "POST", "/v2/many/blobs/uploads/");
      const url = `${post.headers["Location"]}?digest=${same}`;
      return (await ask(server, "PUT", url, { body: content })).status;
    });
    const deletes = Array.from({ length: 20 }, () =>
      ask(server, "DELETE", `/v2/many/blobs/${same}`),
    );
    assert.deepEqual(new Set(await Promise.all(pushes)), new Set([201]));
    await Promise.all(deletes);
    const { status } = await ask(server, "HEAD", `/v2/many/blobs/${same}`);
    const files = (await filesIn(folder.path)).filter((path) => path.includes(same.slice(7)));
    assert.equal(files.length, status === 200 ? 1 : 0);
    await nothingLeft();
  });
});

describe("Uploads", () => {
  const body = (bytes: Uint8Array) => ({ body: pieces(bytes) });

  it("goes on after a restart", async () => {
    await using folder = await freshFolder();
    const bytes = randomBytes(5000);
    const before = await Uploads.open(folder.path);
    const key = await before.create("r", "sha256");
    await before.append(key, body(bytes.subarray(0, 3000)));
    const restarted = await Uploads.open(folder.path);
    assert.equal(await restarted.offset(key), 3000);
    let placed: unknown;
    await restarted.seal(key, sha256(bytes), body(bytes.subarray(3000)), (sealed) => {
      placed = sealed.sizeBytes;
    });
    assert.equal(placed, 5000);
  });

  it("drops what is older than a day, at start also what single requests left", async () => {
    await using folder = await freshFolder();
    const uploads = await Uploads.open(folder.path);
    const old = await uploads.create("r", "sha256");
    const fresh = await uploads.create("s", "sha256");
    await uploads.create("", "sha256");
    const [oldFile] = (await filesIn(folder.path)).filter((path) => path.startsWith(old.id));
    const yesterday = Date.now() / 1000 - 25 * 3600;
    await utimes(join(folder.path, oldFile!), yesterday, yesterday);
    assert.equal(await uploads.sweep(), 1);
    await assert.rejects(uploads.offset(old), SpecError);
    const restarted = await Uploads.open(folder.path);
    assert.equal(await restarted.offset(fresh), 0);
    assert.equal((await filesIn(folder.path)).length, 1);
  });

  it("reads the file again when too many uploads run for their digests to be kept", async () => {
    await using folder = await freshFolder();
    const uploads = await Uploads.open(folder.path);
    const bytes = randomBytes(3000);
    const first = await uploads.create("r", "sha256");
    await uploads.append(first, body(bytes));
    for (let i = 0; i < 1100; i++) await uploads.create("r", "sha256");
    let isPlaced = false;
    await uploads.seal(first, sha256(bytes), body(new Uint8Array()), () => {
      isPlaced = true;
    });
    assert.ok(isPlaced);
  });
});
