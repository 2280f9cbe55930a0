import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { type RegistryRequest, verdictOf } from "./http.ts";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import {
  type Answer,
  ask,
  codes,
  freshFolder,
  manifestOf,
  putBlob,
  putManifest,
} from "./testing/harness.ts";

describe("verdictOf()", () => {
  const request = (method: string, headers: RegistryRequest["headers"]): RegistryRequest => ({
    method,
    url: "/",
    headers,
    body: (async function* () {})(),
  });
  type Row = [method: string, headers: Record<string, string>, etag: string | undefined, string];
  const rows: Row[] = [
    ["GET", {}, '"a"', "go on"],
    ["GET", { "if-none-match": '"a"' }, '"a"', "not modified"],
    ["HEAD", { "if-none-match": 'W/"a"' }, '"a"', "not modified"],
    ["GET", { "if-none-match": '"b", W/"a"' }, '"a"', "not modified"],
    ["GET", { "if-none-match": "*" }, '"a"', "not modified"],
    ["GET", { "if-none-match": "*" }, undefined, "go on"],
    ["GET", { "if-none-match": "a" }, '"a"', "go on"],
    ["PUT", { "if-none-match": "*" }, '"a"', "failed"],
    ["PUT", { "if-none-match": "*" }, undefined, "go on"],
    ["PUT", { "if-match": '"a"' }, '"a"', "go on"],
    ["PUT", { "if-match": '"b" , "a"' }, '"a"', "go on"],
    ["PUT", { "if-match": 'W/"a"' }, '"a"', "failed"],
    ["PUT", { "if-match": '"b"' }, '"a"', "failed"],
    ["PUT", { "if-match": "*" }, '"a"', "go on"],
    ["PUT", { "if-match": "*" }, undefined, "failed"],
    ["DELETE", { "if-match": '"a"', "if-none-match": '"a"' }, '"a"', "failed"],
    ["GET", { "if-match": '"b"', "if-none-match": '"a"' }, '"a"', "failed"],
  ];
  for (const [method, headers, etag, want] of rows) {
    it(`says "${want}" to ${method} with ${JSON.stringify(headers)} where there is ${etag}`, () => {
      assert.equal(verdictOf(request(method, headers), etag), want);
    });
  }
});

describe("conditional requests", () => {
  let folder: Awaited<ReturnType<typeof freshFolder>>;
  let server: RegistryServer;
  const [one, two, three] = ["1", "2", "3"].map((n) => manifestOf([], { annotations: { n } })) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  const etagOf = (bytes: Buffer): string => `"${sha256(bytes)}"`;

  before(async () => {
    folder = await freshFolder();
    server = await openRegistryServer(folder.path);
  });
  beforeEach(async () => {
    await putManifest(server, "r", one, "v1");
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  });

  const put = (tag: string, body: Buffer, conditions: Record<string, string>): Promise<Answer> =>
    ask(server, "PUT", `/v2/r/manifests/${tag}`, {
      body,
      headers: { "content-type": MEDIA_TYPE_OCI_MANIFEST, ...conditions },
    });
  const stored = async (tag: string): Promise<Buffer> =>
    (await ask(server, "GET", `/v2/r/manifests/${tag}`)).bytes;

  it("replace a tag only where it still points at what the client saw", async () => {
    const put2 = await put("v1", two, { "if-match": etagOf(one) });
    assert.equal(put2.status, 201);
    const late = await put("v1", three, { "if-match": etagOf(one) });
    assert.equal(late.status, 412);
    assert.equal(late.headers["ETag"], etagOf(two));
    assert.deepEqual(codes(late), ["DENIED"]);
    assert.deepEqual(await stored("v1"), two);
    assert.equal((await ask(server, "GET", `/v2/r/manifests/${sha256(three)}`)).status, 404);
  });

  it("make a tag only where there is none", async () => {
    assert.equal((await put("fresh", one, { "if-none-match": "*" })).status, 201);
    assert.equal((await put("fresh", two, { "if-none-match": "*" })).status, 412);
    assert.deepEqual(await stored("fresh"), one);
    assert.equal((await put("never", one, { "if-match": "*" })).status, 412);
    assert.equal((await ask(server, "GET", "/v2/r/manifests/never")).status, 404);
  });

  it("let one of many writers win who saw the same", async () => {
    const bodies = Array.from({ length: 8 }, (_, n) =>
      manifestOf([], { annotations: { n: `w${n}` } }),
    );
    const answers = await Promise.all(
      bodies.map((body) => put("v1", body, { "if-match": etagOf(one) })),
    );
    const won = answers.flatMap(({ status }, n) => (status === 201 ? [n] : []));
    assert.equal(won.length, 1);
    assert.deepEqual(await stored("v1"), bodies[won[0] ?? -1]);
  });

  it("delete a tag only where it still points there", async () => {
    const path = "/v2/r/manifests/v1";
    const wrong = { headers: { "if-match": etagOf(two) } };
    assert.equal((await ask(server, "DELETE", path, wrong)).status, 412);
    const right = { headers: { "if-match": etagOf(one) } };
    assert.equal((await ask(server, "DELETE", path, right)).status, 202);
    assert.equal((await ask(server, "DELETE", path, right)).status, 412);
  });

  it("send a manifest or a blob again only if it is another one", async () => {
    const blob = Buffer.from("blob");
    await putBlob(server, "r", blob);
    for (const [path, bytes] of [
      ["/v2/r/manifests/v1", one],
      [`/v2/r/manifests/${sha256(one)}`, one],
      [`/v2/r/blobs/${sha256(blob)}`, blob],
    ] as const) {
      for (const method of ["GET", "HEAD"]) {
        const same = { headers: { "if-none-match": etagOf(bytes) } };
        const answer = await ask(server, method, path, same);
        assert.equal(answer.status, 304);
        assert.equal(answer.headers["ETag"], etagOf(bytes));
        assert.equal(answer.headers["Docker-Content-Digest"], sha256(bytes));
        assert.equal(answer.bytes.length, 0);
        const other = { headers: { "if-match": etagOf(three) } };
        assert.equal((await ask(server, method, path, other)).status, 412);
      }
    }
  });
});
