import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { type Digest, DigestMismatchError, digestOf, sha256 } from "@soci-ts/core";
import { EMPTY_CONFIG_DIGEST, MANIFEST_LIMIT_BYTES, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { RegistryError } from "./errors.ts";
import { repositoryOn, testClient } from "./testing/clients.ts";
import { startFakeRegistry } from "./testing/fake-registry.ts";
import { answer } from "./testing/http-server.ts";

const CONFIG = {
  mediaType: "application/vnd.oci.image.config.v1+json",
  digest: EMPTY_CONFIG_DIGEST,
  size: 2,
};
const BYTES = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: CONFIG,
    layers: [],
  }),
);
const DIGEST = sha256(BYTES);

test("a pushed manifest is found by tag and by digest, exactly", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  const pushed = await client.pushManifest({ ...name, tag: "v1" }, MEDIA_TYPE_OCI_MANIFEST, BYTES);
  const descriptor = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: DIGEST, size: BYTES.length };
  assert.deepEqual(pushed, { descriptor, subjectHandled: false });
  for (const which of [{ tag: "v1" }, { digest: DIGEST }, { tag: "other", digest: DIGEST }]) {
    const fetched = await client.fetchManifest({ ...name, ...which });
    assert.deepEqual(fetched.descriptor, descriptor);
    assert.deepEqual(Buffer.from(fetched.bytes), BYTES);
    assert.deepEqual(await client.headManifest({ ...name, ...which }), descriptor);
  }
});

test("pushManifest() without a tag goes by digest, and refuses a digest that is not the content's", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  await client.pushManifest(name, MEDIA_TYPE_OCI_MANIFEST, BYTES);
  assert.equal(registry.requests[0]?.path, `/v2/team/app/manifests/${DIGEST}`);
  const sha512 = digestOf(BYTES, "sha512");
  registry.intercept = (_request, response) => {
    answer(response, 201);
    return true;
  };
  await client.pushManifest({ ...name, digest: sha512 }, MEDIA_TYPE_OCI_MANIFEST, BYTES);
  assert.equal(registry.requests[1]?.path, `/v2/team/app/manifests/${sha512}`);
  await assert.rejects(
    client.pushManifest({ ...name, digest: EMPTY_CONFIG_DIGEST }, MEDIA_TYPE_OCI_MANIFEST, BYTES),
    DigestMismatchError,
  );
  await assert.rejects(client.pushManifest(name, "x/y", Buffer.alloc(MANIFEST_LIMIT_BYTES + 1)), {
    code: "resource_exhausted",
  });
});

test("what is not there is a RegistryError with the registry's words, or undefined", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = { ...repositoryOn(registry), tag: "none" };
  await assert.rejects(client.fetchManifest(name), (error) => {
    assert.ok(error instanceof RegistryError);
    assert.equal(error.status, 404);
    assert.equal(error.code, "not_found");
    assert.deepEqual(error.specErrors, [{ code: "MANIFEST_UNKNOWN", message: "no such manifest" }]);
    assert.match(
      error.message,
      /Cannot fetch manifest .*team\/app:none: the answer is 404 MANIFEST_UNKNOWN \(no such manifest\)/,
    );
    return true;
  });
  assert.equal(await client.headManifest(name), undefined);
});

const WRONG: readonly [
  name: string,
  headers: Record<string, string>,
  body: Buffer,
  which: { tag?: string; digest?: Digest },
  want: RegExp,
][] = [
  [
    "other bytes than the digest's",
    {},
    Buffer.from("{}"),
    { digest: DIGEST },
    /its digest is sha256:44136fa/,
  ],
  [
    "other bytes than the header's",
    { "docker-content-digest": DIGEST },
    Buffer.from("{}"),
    { tag: "v1" },
    /its digest is sha256:44136fa/,
  ],
  [
    "too many bytes",
    {},
    Buffer.alloc(MANIFEST_LIMIT_BYTES + 1),
    { tag: "v1" },
    /want at most 4194304/,
  ],
  [
    "too many bytes in chunks",
    { "transfer-encoding": "chunked" },
    Buffer.alloc(MANIFEST_LIMIT_BYTES + 1),
    { tag: "v1" },
    /want at most 4194304/,
  ],
];

for (const [name, headers, body, which, want] of WRONG) {
  test(`fetchManifest() refuses ${name}`, async () => {
    await using registry = await startFakeRegistry();
    registry.intercept = (_request, response) => {
      answer(response, 200, { "content-type": MEDIA_TYPE_OCI_MANIFEST, ...headers }, body);
      return true;
    };
    await using client = testClient();
    await assert.rejects(client.fetchManifest({ ...repositoryOn(registry), ...which }), want);
    assert.ok(registry.requests.length <= 2);
  });
}

test("fetchManifest() takes the document's own type where the header says nothing", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    answer(response, 200, { "content-type": "application/json" }, BYTES);
    return true;
  };
  await using client = testClient();
  const fetched = await client.fetchManifest({ ...repositoryOn(registry), tag: "v1" });
  assert.equal(fetched.descriptor.mediaType, MEDIA_TYPE_OCI_MANIFEST);
});

test("fetchManifest() checks sha512 where the registry names it", async () => {
  await using registry = await startFakeRegistry();
  const digest = `sha512:${createHash("sha512").update(BYTES).digest("hex")}`;
  registry.intercept = (_request, response) => {
    answer(
      response,
      200,
      { "content-type": MEDIA_TYPE_OCI_MANIFEST, "docker-content-digest": digest },
      BYTES,
    );
    return true;
  };
  await using client = testClient();
  assert.equal(
    (await client.fetchManifest({ ...repositoryOn(registry), tag: "v1" })).descriptor.digest,
    digest,
  );
});

test("headManifest() fetches where HEAD tells too little", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = { ...repositoryOn(registry), tag: "v1" };
  await client.pushManifest(name, MEDIA_TYPE_OCI_MANIFEST, BYTES);
  registry.intercept = (request, response) => {
    if (request.method === "HEAD") answer(response, 200);
    return request.method === "HEAD";
  };
  assert.equal((await client.headManifest(name))?.digest, DIGEST);
});
