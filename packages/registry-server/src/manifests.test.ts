import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { type Digest, digestOf, sha256 } from "@soci-ts/core";
import {
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
} from "@soci-ts/oci";
import { readManifestFacts } from "./manifest-facts.ts";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { SpecError } from "./spec-error.ts";
import {
  type Answer,
  ask,
  codes,
  filesIn,
  freshFolder,
  manifestOf,
  putBlob,
  putManifest,
} from "./testing/harness.ts";

const indexOf = (manifests: readonly string[], more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE_OCI_INDEX,
      manifests: manifests.map((digest) => ({
        mediaType: MEDIA_TYPE_OCI_MANIFEST,
        digest,
        size: 1,
      })),
      ...more,
    }),
  );

describe("/v2/<name>/manifests/<reference>", () => {
  let folder: Awaited<ReturnType<typeof freshFolder>>;
  let server: RegistryServer;
  let manifest: Buffer;
  let digest: string;

  before(async () => {
    folder = await freshFolder();
    server = await openRegistryServer(folder.path, { manifestLimitBytes: 50_000 });
    const layer = await putBlob(server, "r", randomBytes(100));
    manifest = manifestOf([layer]);
    digest = await putManifest(server, "r", manifest, "v1");
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  });

  const put = (
    reference: string,
    body: Uint8Array,
    type: string | undefined = MEDIA_TYPE_OCI_MANIFEST,
  ): Promise<Answer> =>
    ask(server, "PUT", `/v2/r/manifests/${reference}`, {
      body,
      ...(type !== "" && { headers: { "content-type": type } }),
    });

  it("gives back the very bytes by tag and by digest, HEAD with the same headers", async () => {
    for (const reference of ["v1", digest]) {
      const got = await ask(server, "GET", `/v2/r/manifests/${reference}`);
      assert.equal(got.status, 200);
      assert.deepEqual(got.bytes, manifest);
      assert.equal(got.headers["Content-Type"], MEDIA_TYPE_OCI_MANIFEST);
      assert.equal(got.headers["Docker-Content-Digest"], digest);
      const head = await ask(server, "HEAD", `/v2/r/manifests/${reference}`);
      assert.equal(head.bytes.length, 0);
      assert.deepEqual(head.headers, got.headers);
      const conditional = { "if-none-match": got.headers["ETag"]! };
      const same = await ask(server, "GET", `/v2/r/manifests/${reference}`, {
        headers: conditional,
      });
      assert.equal(same.status, 304);
    }
  });

  it("answers PUT with place and digest, and moves a tag", async () => {
    const next = manifestOf([], { annotations: { a: "b" } });
    const answer = await put("moving", next);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers["Location"], `/v2/r/manifests/${sha256(next)}`);
    assert.equal(answer.headers["Docker-Content-Digest"], sha256(next));
    assert.equal(answer.headers["OCI-Subject"], undefined);
    await put("moving", manifest);
    const got = await ask(server, "HEAD", "/v2/r/manifests/moving");
    assert.equal(got.headers["Docker-Content-Digest"], digest);
  });

  it("takes sha512 digests, parameters in the content type, no content type, and tag parameters", async () => {
    const body = manifestOf([], { annotations: { long: "1" } });
    const long = digestOf(body, "sha512");
    const answer = await put(
      `${long}?tag=x&tag=y&tag=x`,
      body,
      `${MEDIA_TYPE_OCI_MANIFEST}; charset=utf-8`,
    );
    assert.equal(answer.status, 201);
    assert.equal(answer.headers["OCI-Tag"], "x, y");
    const got = await ask(server, "GET", "/v2/r/manifests/y");
    assert.equal(got.headers["Docker-Content-Digest"], long);
    assert.equal(got.headers["Content-Type"], MEDIA_TYPE_OCI_MANIFEST);
    assert.equal((await put("untyped", body, "")).status, 201);
  });

  const refused: [
    name: string,
    reference: string,
    body: () => Uint8Array,
    type: string,
    code: string,
  ][] = [
    ["not JSON", "t", () => Buffer.from("{"), MEDIA_TYPE_OCI_MANIFEST, "MANIFEST_INVALID"],
    ["an empty body", "t", () => Buffer.from(""), MEDIA_TYPE_OCI_MANIFEST, "MANIFEST_INVALID"],
    ["another type than announced", "t", () => manifest, MEDIA_TYPE_OCI_INDEX, "MANIFEST_INVALID"],
    ["a type nobody knows", "t", () => Buffer.from("{}"), "text/plain", "MANIFEST_INVALID"],
    [
      "both kinds at once",
      "t",
      () => manifestOf([], { manifests: [] }),
      MEDIA_TYPE_OCI_MANIFEST,
      "MANIFEST_INVALID",
    ],
    [
      "an algorithm nobody checks",
      "t",
      () => manifestOf([`md5:${"0".repeat(32)}`]),
      MEDIA_TYPE_OCI_MANIFEST,
      "MANIFEST_INVALID",
    ],
    [
      "schema 1",
      "t",
      () => Buffer.from('{"schemaVersion":1}'),
      "application/vnd.docker.distribution.manifest.v1+json",
      "MANIFEST_INVALID",
    ],
    [
      "another digest",
      sha256(Buffer.from("x")),
      () => manifest,
      MEDIA_TYPE_OCI_MANIFEST,
      "DIGEST_INVALID",
    ],
    ["a tag that is none", ".t", () => manifest, MEDIA_TYPE_OCI_MANIFEST, "MANIFEST_INVALID"],
    [
      "a tag that is too long",
      "t".repeat(129),
      () => manifest,
      MEDIA_TYPE_OCI_MANIFEST,
      "MANIFEST_INVALID",
    ],
    [
      "a tag with a line break",
      "t%0d%0aX",
      () => manifest,
      MEDIA_TYPE_OCI_MANIFEST,
      "MANIFEST_INVALID",
    ],
  ];
  for (const [name, reference, body, type, code] of refused) {
    it(`refuses ${name}`, async () => {
      const answer = await put(reference, body(), type);
      assert.equal(answer.status, 400);
      assert.deepEqual(codes(answer), [code]);
      assert.equal((await ask(server, "HEAD", "/v2/r/manifests/t")).status, 404);
    });
  }

  it("refuses a tag parameter that is none, and too many", async () => {
    assert.deepEqual(codes(await put(`${digest}?tag=ok&tag=.no`, manifest)), ["MANIFEST_INVALID"]);
    assert.equal((await ask(server, "HEAD", "/v2/r/manifests/ok")).status, 404);
    const many = Array.from({ length: 101 }, (_, at) => `tag=t${at}`).join("&");
    assert.equal((await put(`${digest}?${many}`, manifest)).status, 414);
  });

  it("refuses what is too large by its announcement, and by its bytes", async () => {
    const large = manifestOf([], { annotations: { a: "x".repeat(50_000) } });
    const announced = await put("large", large);
    assert.equal(announced.status, 413);
    assert.deepEqual(codes(announced), ["SIZE_INVALID"]);
    let read = 0;
    const endless = (async function* () {
      for (;;) {
        read += 1000;
        yield new Uint8Array(1000);
      }
    })();
    const answer = await ask(server, "PUT", "/v2/r/manifests/large", { body: endless });
    assert.equal(answer.status, 413);
    assert.ok(read < 60_000);
  });

  it("names every blob and manifest that is missing, and stores nothing", async () => {
    const absent = [sha256(randomBytes(9)), sha256(randomBytes(9))];
    const answer = await put("missing", manifestOf(absent));
    assert.equal(answer.status, 400);
    const { errors } = JSON.parse(answer.bytes.toString()) as {
      errors: { code: string; detail: string }[];
    };
    assert.deepEqual(
      errors.map(({ code, detail }) => [code, detail]),
      absent.map((detail) => ["MANIFEST_BLOB_UNKNOWN", detail]),
    );
    const index = await put("missing", indexOf([digest, absent[0]!]), MEDIA_TYPE_OCI_INDEX);
    assert.deepEqual(codes(index), ["MANIFEST_BLOB_UNKNOWN"]);
    assert.equal((await ask(server, "HEAD", "/v2/r/manifests/missing")).status, 404);
    const elsewhere = await ask(server, "PUT", "/v2/elsewhere/manifests/v1", {
      body: manifest,
      headers: { "content-type": MEDIA_TYPE_OCI_MANIFEST },
    });
    assert.deepEqual(codes(elsewhere), ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"]);
    assert.equal((await ask(server, "GET", "/v2/elsewhere/tags/list")).status, 404);
  });

  it("takes an index of manifests, of indexes, of layers, and layers that live elsewhere", async () => {
    const inner = indexOf([digest]);
    assert.equal((await put("inner", inner, MEDIA_TYPE_OCI_INDEX)).status, 201);
    assert.equal((await put("outer", indexOf([sha256(inner)]), MEDIA_TYPE_OCI_INDEX)).status, 201);
    const layer = await putBlob(server, "r", randomBytes(30));
    assert.equal((await put("cache", indexOf([layer]), MEDIA_TYPE_OCI_INDEX)).status, 201);
    const foreign = {
      mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar",
      digest: sha256(randomBytes(9)),
      size: 9,
      urls: ["https://example.com/x"],
    };
    assert.equal((await put("foreign", manifestOf([], { layers: [foreign] }))).status, 201);
    const docker = manifestOf([], { mediaType: MEDIA_TYPE_DOCKER_MANIFEST });
    assert.equal((await put("docker", docker, MEDIA_TYPE_DOCKER_MANIFEST)).status, 201);
    const got = await ask(server, "GET", "/v2/r/manifests/docker");
    assert.equal(got.headers["Content-Type"], MEDIA_TYPE_DOCKER_MANIFEST);
  });

  it("DELETE by tag leaves the manifest, by digest takes its tags along", async () => {
    const body = manifestOf([], { annotations: { gone: "soon" } });
    const gone = await putManifest(server, "d", body, "one");
    await putManifest(server, "d", body, "two");
    assert.equal((await ask(server, "DELETE", "/v2/d/manifests/one")).status, 202);
    assert.equal((await ask(server, "GET", "/v2/d/manifests/one")).status, 404);
    assert.equal((await ask(server, "GET", `/v2/d/manifests/${gone}`)).status, 200);
    assert.equal((await ask(server, "DELETE", `/v2/d/manifests/${gone}`)).status, 202);
    for (const reference of ["two", gone, "none", ".invalid"]) {
      const url = `/v2/d/manifests/${reference}`;
      assert.deepEqual(codes(await ask(server, "GET", url)), ["MANIFEST_UNKNOWN"], reference);
      assert.deepEqual(codes(await ask(server, "DELETE", url)), ["MANIFEST_UNKNOWN"], reference);
    }
    const tags = await ask(server, "GET", "/v2/d/tags/list");
    assert.deepEqual(JSON.parse(tags.bytes.toString()), { name: "d", tags: [] });
    await putManifest(server, "d", body, "back");
    assert.deepEqual((await ask(server, "GET", "/v2/d/manifests/back")).bytes, body);
  });

  it("keeps a manifest's bytes while another repository has them", async () => {
    const body = manifestOf([], { annotations: { shared: "yes" } });
    const shared = await putManifest(server, "s1", body);
    await putManifest(server, "s2", body);
    await ask(server, "DELETE", `/v2/s1/manifests/${shared}`);
    assert.deepEqual((await ask(server, "GET", `/v2/s2/manifests/${shared}`)).bytes, body);
  });

  it("writes no file for manifests or refusals", async () => {
    const files = await filesIn(folder.path);
    assert.ok(files.every((path) => path.startsWith("blobs/sha256/")));
  });
});

describe("readManifestFacts()", () => {
  const subject = sha256(Buffer.from("subject"));
  const layer = sha256(Buffer.from("layer"));
  const config = sha256(Buffer.from("{}"));
  const pointing = { subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: subject, size: 7 } };

  it("takes the artifact type of an image from its config where it has none", () => {
    const plain = readManifestFacts(manifestOf([layer], pointing), undefined);
    assert.deepEqual(plain.blobs, [config, layer] as Digest[]);
    assert.equal(plain.subject, subject);
    assert.equal(plain.artifactType, "application/vnd.oci.image.config.v1+json");
    const typed = readManifestFacts(manifestOf([], { artifactType: "a/b" }), undefined);
    assert.equal(typed.artifactType, "a/b");
    const index = readManifestFacts(indexOf([layer], pointing), MEDIA_TYPE_OCI_INDEX);
    assert.equal(index.artifactType, undefined);
    assert.deepEqual(index.manifests, [layer]);
  });

  it("reads or refuses every cut and every mutation", () => {
    const whole = manifestOf([layer], { ...pointing, annotations: { a: "b" } });
    const readOrRefuse = (bytes: Uint8Array): void => {
      try {
        readManifestFacts(bytes, MEDIA_TYPE_OCI_MANIFEST);
      } catch (error) {
        assert.ok(error instanceof SpecError, String(error));
      }
    };
    for (let end = 0; end < whole.length; end++) readOrRefuse(whole.subarray(0, end));
    let state = 7;
    for (let i = 0; i < 5000; i++) {
      const copy = Buffer.from(whole);
      state = (state * 48_271) % 2_147_483_647;
      copy[state % copy.length] = state % 256;
      readOrRefuse(copy);
    }
  });
});
