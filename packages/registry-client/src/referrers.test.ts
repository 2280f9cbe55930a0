import assert from "node:assert/strict";
import { test } from "node:test";
import { type Digest, sha256 } from "@soci-ts/core";
import {
  type Descriptor,
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V1,
} from "@soci-ts/oci";
import type { RegistryClient } from "./client.ts";
import { referrersTag } from "./referrers-tag.ts";
import { repositoryOn, testClient } from "./testing/clients.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";
import { answer } from "./testing/http-server.ts";

const SUBJECT: Descriptor = {
  mediaType: MEDIA_TYPE_OCI_MANIFEST,
  digest: sha256(Buffer.from("subject")),
  size: 7,
};
const TAG = referrersTag(SUBJECT.digest);
const OTHER_TYPE = "application/vnd.example.signature";

function referrer(name: string, artifactType: string = MEDIA_TYPE_SOCI_INDEX_V1): Uint8Array {
  return encodeManifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: { mediaType: artifactType, digest: EMPTY_CONFIG_DIGEST, size: 2 },
    layers: [],
    subject: SUBJECT,
    annotations: { name },
  });
}

const push = (client: RegistryClient, registry: FakeRegistry, bytes: Uint8Array) =>
  client.pushReferrer(repositoryOn(registry), MEDIA_TYPE_OCI_MANIFEST, bytes);

const list = async (
  client: RegistryClient,
  registry: FakeRegistry,
  artifactType?: string,
): Promise<Digest[]> =>
  (await client.listReferrers(repositoryOn(registry), SUBJECT.digest, { artifactType })).map(
    ({ digest }) => digest,
  );

/** The entries of the tag, as they are stored. */
function tagged(registry: FakeRegistry): { digest: string; [field: string]: unknown }[] {
  const stored = registry.manifests.get(`team/app:${TAG}`);
  return stored === undefined ? [] : JSON.parse(stored.bytes.toString()).manifests;
}

test("referrersTag() follows the tag schema", () => {
  assert.match(TAG, /^sha256-[0-9a-f]{64}$/);
  assert.match(referrersTag(`sha512:${"ab".repeat(64)}` as Digest), /^sha512-(?:ab){32}$/);
});

test("with the referrers API nothing but the manifest is written, and all pages are listed and filtered", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const ours = ["a", "b", "c"].map((name) => referrer(name));
  for (const bytes of ours)
    assert.equal((await push(client, registry, bytes)).subjectHandled, true);
  await push(client, registry, referrer("x", OTHER_TYPE));
  assert.equal(registry.requests.filter(({ method }) => method === "PUT").length, 4);
  assert.deepEqual(await list(client, registry, MEDIA_TYPE_SOCI_INDEX_V1), ours.map(sha256));
  assert.equal((await list(client, registry)).length, 4);
});

test("a registry that lists without saying OCI-Subject is believed", async () => {
  await using registry = await startFakeRegistry();
  const original = registry.handler;
  registry.handler = (request, response) => {
    const write = response.writeHead.bind(response) as (
      status: number,
      headers: object,
    ) => typeof response;
    response.writeHead = ((status: number, headers: Record<string, unknown>) => {
      const { "oci-subject": _, ...rest } = headers;
      return write(status, rest);
    }) as typeof response.writeHead;
    return original(request, response);
  };
  await using client = testClient();
  assert.equal((await push(client, registry, referrer("a"))).subjectHandled, true);
  assert.deepEqual(tagged(registry), []);
});

test("without the API the tag is written and listed", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient();
  assert.deepEqual(await list(client, registry), []);
  const [a, b] = [referrer("a"), referrer("b", OTHER_TYPE)];
  assert.equal((await push(client, registry, a)).subjectHandled, false);
  assert.equal((await push(client, registry, b)).subjectHandled, false);
  assert.deepEqual(await list(client, registry), [sha256(a), sha256(b)]);
  assert.deepEqual(await list(client, registry, MEDIA_TYPE_SOCI_INDEX_V1), [sha256(a)]);
  assert.deepEqual(tagged(registry)[0], {
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    digest: sha256(a),
    size: a.length,
    annotations: { name: "a" },
    artifactType: MEDIA_TYPE_SOCI_INDEX_V1,
  });
});

test("an entry that is there is not added again", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient();
  await push(client, registry, referrer("a"));
  const writes = (): number =>
    registry.requests.filter(({ method, path }) => method === "PUT" && path.includes(TAG)).length;
  await push(client, registry, referrer("a"));
  assert.equal(writes(), 1);
  assert.equal(tagged(registry).length, 1);
});

test("fields and entries of others stay as they are", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient();
  const foreign = {
    mediaType: "x/y",
    digest: EMPTY_CONFIG_DIGEST,
    size: 2,
    "com.example.future": { deep: [1] },
    data: "e30=",
  };
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_INDEX,
    manifests: [foreign],
    annotations: { k: "v" },
    future: true,
  };
  registry.manifests.set(`team/app:${TAG}`, {
    bytes: Buffer.from(JSON.stringify(document)),
    mediaType: MEDIA_TYPE_OCI_INDEX,
  });
  await push(client, registry, referrer("a"));
  const stored = JSON.parse(registry.manifests.get(`team/app:${TAG}`)?.bytes.toString() ?? "");
  assert.deepEqual(stored.manifests[0], foreign);
  assert.equal(stored.manifests.length, 2);
  assert.equal(stored.future, true);
  assert.deepEqual(stored.annotations, { k: "v" });
});

for (const conditions of [false, true]) {
  test(`no entry is lost among concurrent writers ${conditions ? "with" : "without"} conditional writes`, async () => {
    await using registry = await startFakeRegistry({ referrersApi: false, conditions });
    // Slow and uneven, so that reads and writes interleave.
    registry.intercept = async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 12));
      return false;
    };
    const clients = Array.from({ length: 6 }, () => testClient({ referrersSettleMs: 250 }));
    const manifests = clients.flatMap((_, k) => [0, 1, 2].map((n) => referrer(`${k}-${n}`)));
    await Promise.all(
      manifests.map((bytes, k) =>
        push(clients[Math.floor(k / 3)] as RegistryClient, registry, bytes),
      ),
    );
    assert.deepEqual(
      new Set(tagged(registry).map(({ digest }) => digest)),
      new Set(manifests.map(sha256)),
    );
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  });
}

test("an entry that a careless writer drops is put back, with those that were seen", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient({ referrersSettleMs: 150 });
  let drops = 2;
  registry.intercept = (request, response) => {
    if (request.method !== "PUT" || !request.path.includes(TAG) || drops === 0) return false;
    drops -= 1;
    answer(response, 201);
    return true;
  };
  await push(client, registry, referrer("a"));
  assert.equal(tagged(registry).length, 1);
});

test("a tag that others replace for ever is an error", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient({ referrersSettleMs: 20 });
  registry.intercept = (request, response) => {
    if (request.method === "PUT" && request.path.includes(TAG)) answer(response, 201);
    else return false;
    return true;
  };
  await assert.rejects(push(client, registry, referrer("a")), {
    code: "aborted",
    message: /again and again/,
  });
});

test("a registry whose conditions never hold is written without them", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient();
  registry.intercept = (request, response) => {
    const isConditional = request.headers["if-match"] !== undefined;
    if (isConditional) answer(response, 412);
    return isConditional;
  };
  await push(client, registry, referrer("a"));
  await push(client, registry, referrer("b"));
  assert.equal(tagged(registry).length, 2);
});

test("a tag that is an image is refused, not overwritten", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient();
  const image = Buffer.from(referrer("image"));
  registry.manifests.set(`team/app:${TAG}`, { bytes: image, mediaType: MEDIA_TYPE_OCI_MANIFEST });
  await assert.rejects(push(client, registry, referrer("a")), { code: "failed_precondition" });
  assert.equal(registry.manifests.get(`team/app:${TAG}`)?.bytes, image);
});

for (const [name, status, headers, body] of [
  ["404", 404, {}, ""],
  ["405", 405, {}, ""],
  ["a login page", 200, { "content-type": "text/html; charset=utf-8" }, "<html>"],
] as const) {
  test(`a referrers API that answers ${name} means the tag`, async () => {
    await using registry = await startFakeRegistry({ referrersApi: false });
    registry.intercept = (request, response) => {
      const isReferrers = request.path.includes("/referrers/");
      if (isReferrers) answer(response, status, headers, body);
      return isReferrers;
    };
    await using client = testClient();
    await push(client, registry, referrer("a"));
    assert.deepEqual(await list(client, registry), [sha256(referrer("a"))]);
  });
}

test("an error of the referrers API is an error, not an empty list", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  for (const [status, code] of [
    [403, "permission_denied"],
    [500, "unavailable"],
  ] as const) {
    registry.intercept = (_request, response) => {
      answer(response, status);
      return true;
    };
    await assert.rejects(list(client, registry), { code });
  }
});

test("pages that lead away or have no end are refused", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const body = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: [] });
  for (const link of [
    () => "http://127.0.0.1:9/v2/x",
    () => "/elsewhere",
    () => `/v2/p/${registry.requests.length}`,
  ]) {
    registry.intercept = (_request, response) => {
      answer(
        response,
        200,
        { "content-type": MEDIA_TYPE_OCI_INDEX, link: `<${link()}>; rel="next"` },
        body,
      );
      return true;
    };
    await assert.rejects(list(client, registry), { code: "data_loss" });
  }
  assert.ok(registry.requests.length < 1_100, String(registry.requests.length));
});

test("pushReferrer() refuses a manifest without subject", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const plain = encodeManifest({ schemaVersion: 2, config: SUBJECT, layers: [] });
  await assert.rejects(push(client, registry, plain), {
    code: "invalid_argument",
    message: /no subject/,
  });
  assert.equal(registry.requests.length, 0);
});

test("an abort ends an update of the tag", async () => {
  await using registry = await startFakeRegistry({ referrersApi: false });
  await using client = testClient({ referrersSettleMs: 5_000 });
  const started = performance.now();
  const signal = AbortSignal.timeout(200);
  const pushed = client.pushReferrer(
    repositoryOn(registry),
    MEDIA_TYPE_OCI_MANIFEST,
    referrer("a"),
    { signal },
  );
  await assert.rejects(pushed, { name: "TimeoutError" });
  assert.ok(performance.now() - started < 2_000);
});
