import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Digest, sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { seededBytes } from "@soci-ts/testkit";
import { startCompanion, type TestCompanion } from "../testing/companions.ts";
import { ask, broken, manifestOf, putBlob, putManifest } from "../testing/harness.ts";
import { startUpstream, type UpstreamServer } from "../testing/upstream-server.ts";

const REPOSITORY = "team/app";
const SUBJECT = sha256(Buffer.from("an image"));
const CONFIG = Buffer.from("{}");

interface Artifact {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly layer: Buffer;
}

function artifact(seed: number): Artifact {
  const layer = Buffer.from(seededBytes(5_000, seed));
  const subject = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: SUBJECT, size: 8 };
  const bytes = manifestOf([sha256(layer)], { subject, artifactType: "application/x.test" });
  return { bytes, digest: sha256(bytes), layer };
}

function pushManifest(
  { companion }: TestCompanion,
  bytes: Buffer,
  reference: string,
  headers = {},
) {
  const type = { "content-type": MEDIA_TYPE_OCI_MANIFEST, ...headers };
  const url = `/v2/${REPOSITORY}/manifests/${reference}`;
  return ask(companion, "PUT", url, { body: bytes, headers: type });
}

/** In chunks, as most clients do. */
async function pushBlob(
  { companion }: TestCompanion,
  bytes: Buffer,
  headers = {},
): Promise<string> {
  const begun = await ask(companion, "POST", `/v2/${REPOSITORY}/blobs/uploads/`, { headers });
  assert.equal(begun.status, 202);
  const location = begun.headers["Location"]!;
  assert.match(location, /^\/v2\/team\/app\/blobs\/uploads\/[0-9a-f-]{36}$/);
  const half = Math.ceil(bytes.length / 2);
  const patched = await ask(companion, "PATCH", location, {
    body: bytes.subarray(0, half),
    headers,
  });
  assert.equal(patched.headers["Range"], `0-${half - 1}`);
  const url = `${patched.headers["Location"]}?digest=${sha256(bytes)}`;
  const put = await ask(companion, "PUT", url, { body: bytes.subarray(half), headers });
  assert.equal(put.status, 201);
  return put.headers["Location"] ?? "";
}

async function pushArtifact(test: TestCompanion, { bytes, digest, layer }: Artifact, headers = {}) {
  await pushBlob(test, CONFIG, headers);
  await pushBlob(test, layer, headers);
  return pushManifest(test, bytes, digest, headers);
}

/** What is kept of an artifact: manifest, layer, config. */
async function kept({ registry }: TestCompanion, { digest, layer }: Artifact): Promise<boolean[]> {
  const paths = [`manifests/${digest}`, `blobs/${sha256(layer)}`, `blobs/${sha256(CONFIG)}`];
  const answers = await Promise.all(
    paths.map((path) => ask(registry, "HEAD", `/v2/up.test/${REPOSITORY}/${path}`)),
  );
  return answers.map(({ status }) => status === 200);
}

const ALL = [true, true, true];
const NOTHING = [false, false, false];

describe("a push through the companion", () => {
  it("goes to the upstream, which alone keeps an image and an artifact that it lists", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const pushed = artifact(1);
    const answer = await pushArtifact(test, pushed);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers["Oci-Subject"], SUBJECT);
    assert.equal(answer.headers["Location"], `/v2/${REPOSITORY}/manifests/${pushed.digest}`);
    assert.deepEqual(await kept(test, pushed), NOTHING);
    const image = manifestOf([sha256(pushed.layer)]);
    assert.equal((await pushManifest(test, image, "v1")).status, 201);
    const stored = await ask(upstream.registry, "GET", `/v2/${REPOSITORY}/manifests/v1`);
    assert.deepEqual(stored.bytes, image);
  });

  const refusing: readonly [string, Partial<UpstreamServer>][] = [
    ["takes an artifact but does not list it", { subjects: "not listed" }],
    ["refuses manifests with a subject", { subjects: "refused" }],
    ["refuses every push, as proxies do (405)", { readOnly: 405 }],
    ["has no such operation (501)", { readOnly: 501 }],
  ];
  for (const [name, behaviour] of refusing) {
    it(`is kept here with its blobs where the upstream ${name}`, async () => {
      await using upstream = await startUpstream(behaviour);
      await using test = await startCompanion([upstream]);
      await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
      const pushed = artifact(2);
      const answer = await pushArtifact(test, pushed);
      assert.equal(answer.status, 201);
      assert.equal(answer.headers["OCI-Subject"], SUBJECT);
      assert.equal(answer.headers["Location"], `/v2/${REPOSITORY}/manifests/${pushed.digest}`);
      assert.deepEqual(await kept(test, pushed), ALL);
      const prefix = `/v2/${REPOSITORY}`;
      const manifest = await ask(test.companion, "GET", `${prefix}/manifests/${pushed.digest}`);
      assert.deepEqual(manifest.bytes, pushed.bytes);
      const layer = await ask(test.companion, "GET", `${prefix}/blobs/${sha256(pushed.layer)}`);
      assert.deepEqual(layer.bytes, pushed.layer);
      await upstream.stop();
      const down = await ask(test.companion, "GET", `${prefix}/blobs/${sha256(pushed.layer)}`);
      assert.deepEqual(down.bytes, pushed.layer);
    });
  }

  it("that is refused because of who asks, or for now, is refused and kept nowhere", async () => {
    for (const status of [401, 403, 429, 500, 503]) {
      await using upstream = await startUpstream();
      await using test = await startCompanion([upstream]);
      const pushed = artifact(3);
      await putBlob(upstream.registry, REPOSITORY, pushed.layer);
      await putBlob(upstream.registry, REPOSITORY, CONFIG);
      upstream.readOnly = status;
      assert.equal((await pushManifest(test, pushed.bytes, pushed.digest)).status, status);
      const begun = await ask(test.companion, "POST", `/v2/${REPOSITORY}/blobs/uploads/`);
      assert.equal(begun.status, status);
      assert.deepEqual(await kept(test, pushed), NOTHING);
    }
  });

  it("is kept where the companion logs in by itself and its login may not push", async () => {
    const credentials = { find: async () => undefined };
    await using upstream = await startUpstream({ readOnly: 403 });
    await using test = await startCompanion([{ url: upstream.url, credentials }]);
    const pushed = artifact(4);
    const headers = { authorization: "Basic secret" };
    assert.equal((await pushArtifact(test, pushed, headers)).status, 201);
    assert.deepEqual(await kept(test, pushed), ALL);
    assert.deepEqual(new Set(upstream.authorizations), new Set([undefined]));
  });

  it("is kept nowhere for a client that the upstream has not let read the repository", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
    // As registries do that do not tell strangers what exists.
    upstream.intercept = (request, response) => {
      if (request.headers.authorization !== undefined) return false;
      request.resume();
      response.writeHead(404, { "content-length": 0 }).end();
      return true;
    };
    const pushed = artifact(5);
    assert.equal((await pushManifest(test, pushed.bytes, pushed.digest)).status, 404);
    assert.equal(
      (await ask(test.companion, "POST", `/v2/${REPOSITORY}/blobs/uploads/`)).status,
      404,
    );
    assert.deepEqual(await kept(test, pushed), NOTHING);
  });

  it("that its client breaks off is no fault of the upstream", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const begun = await ask(test.companion, "POST", `/v2/${REPOSITORY}/blobs/uploads/`);
    const headers = { "content-length": "5000" };
    const body = broken(Buffer.alloc(3000));
    const answer = await ask(test.companion, "PATCH", begun.headers["Location"]!, {
      body,
      headers,
    });
    assert.equal(answer.status, 400);
    await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
    const asked = upstream.requests.length;
    for (const expected of [1, 2]) {
      await ask(test.companion, "GET", `/v2/${REPOSITORY}/manifests/v1`);
      assert.equal(upstream.requests.length, asked + expected, "it is not left alone");
    }
  });

  it("of an image that the upstream refuses stays refused", async () => {
    await using upstream = await startUpstream({ readOnly: 405 });
    await using test = await startCompanion([upstream]);
    await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v0");
    await pushBlob(test, CONFIG);
    assert.equal((await pushManifest(test, manifestOf([]), "v1")).status, 405);
  });

  it("of an index brings the manifests that it lists", async () => {
    await using upstream = await startUpstream({ subjects: "not listed" });
    await using test = await startCompanion([upstream]);
    const child = manifestOf([]);
    const childDigest = await putManifest(upstream.registry, REPOSITORY, child);
    const type = "application/vnd.oci.image.index.v1+json";
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: type,
        artifactType: "application/x.test",
        manifests: [
          { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: childDigest, size: child.length },
        ],
        subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: SUBJECT, size: 8 },
      }),
    );
    const headers = { "content-type": type };
    assert.equal(
      (await pushManifest(test, index, sha256(index), headers)).headers["OCI-Subject"],
      SUBJECT,
    );
    const path = `/v2/up.test/${REPOSITORY}/manifests/${childDigest}`;
    assert.equal((await ask(test.registry, "HEAD", path)).status, 200);
  });

  it("in one POST that the upstream refuses is begun here, and the client sends it once more", async () => {
    await using upstream = await startUpstream({ readOnly: 405 });
    await using test = await startCompanion([upstream]);
    await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v0");
    const bytes = Buffer.from("at once");
    const digest = sha256(bytes);
    const url = `/v2/${REPOSITORY}/blobs/uploads/?digest=${digest}`;
    const begun = await ask(test.companion, "POST", url, { body: bytes });
    assert.equal(begun.status, 202);
    const put = await ask(test.companion, "PUT", `${begun.headers["Location"]}?digest=${digest}`, {
      body: bytes,
    });
    assert.equal(put.status, 201);
    const found = await ask(test.companion, "GET", `/v2/${REPOSITORY}/blobs/${digest}`);
    assert.deepEqual(found.bytes, bytes);
  });

  it("of a manifest that is too large is refused before the upstream is asked", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const answer = await pushManifest(test, Buffer.alloc(4 * 1024 * 1024 + 1, " "), "v1");
    assert.equal(answer.status, 413);
    assert.deepEqual(upstream.requests, []);
  });

  it("sends uploads only where the upstream said, and not to its own network", async () => {
    await using upstream = await startUpstream();
    await using other = await startUpstream();
    await using test = await startCompanion([upstream]);
    upstream.intercept = (request, response) => {
      request.resume();
      const location = `${other.url.href}v2/${REPOSITORY}/blobs/uploads/x?signature=1`;
      response.writeHead(202, { location }).end();
      return true;
    };
    const begun = await ask(test.companion, "POST", `/v2/${REPOSITORY}/blobs/uploads/`);
    const location = begun.headers["Location"]!;
    assert.ok(!location.includes(other.host));
    const refused = await ask(test.companion, "PATCH", location, { body: Buffer.from("x") });
    assert.equal(refused.status, 502);
    assert.deepEqual(other.requests, []);
    const guessed = `/v2/${REPOSITORY}/blobs/uploads/${encodeURIComponent(other.url.href)}`;
    assert.equal((await ask(test.companion, "PATCH", guessed)).status, 404);
  });
});
