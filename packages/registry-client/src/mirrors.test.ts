import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { sha256 } from "@soci-ts/core";
import { EMPTY_CONFIG_DIGEST, encodeManifest, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { RegistryError } from "./errors.ts";
import type { HostConfig } from "./hosts.ts";
import { collect, patternBytes, testClient } from "./testing/clients.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";
import { hostAt, hostsOf } from "./testing/hosts.ts";
import { answer } from "./testing/http-server.ts";
import { recordingLogger } from "./testing/recorder.ts";

const NAME = { registry: "registry.test", repository: "team/app" };
const BYTES = patternBytes(300_000);
/** Nobody listens there. */
const DEAD = "http://127.0.0.1:1";

interface Setup extends AsyncDisposable {
  readonly mirror: FakeRegistry;
  readonly server: FakeRegistry;
  readonly both: readonly [HostConfig, HostConfig];
}

async function setUp(): Promise<Setup> {
  const mirror = await startFakeRegistry();
  const server = await startFakeRegistry();
  return {
    mirror,
    server,
    both: [hostAt(mirror.url), hostAt(server.url)],
    async [Symbol.asyncDispose]() {
      await mirror[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function putManifest(registry: FakeRegistry, tag: string, subject?: string): string {
  const bytes = Buffer.from(
    encodeManifest({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE_OCI_MANIFEST,
      config: { mediaType: "x/y", digest: EMPTY_CONFIG_DIGEST, size: 2 },
      layers: [],
      annotations: { tag },
      ...(subject !== undefined && {
        subject: {
          mediaType: MEDIA_TYPE_OCI_MANIFEST,
          digest: sha256(Buffer.from(subject)),
          size: 1,
        },
      }),
    }),
  );
  const digest = sha256(bytes);
  for (const key of [`team/app:${tag}`, `team/app@${digest}`]) {
    registry.manifests.set(key, { bytes, mediaType: MEDIA_TYPE_OCI_MANIFEST });
  }
  return digest;
}

const paths = (registry: FakeRegistry): string[] => registry.requests.map(({ path }) => path);

test("a mirror is asked first, told which registry is meant, and the server not at all", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const digest = putManifest(mirror, "v1");
  const blob = mirror.addBlob(BYTES);
  await using client = testClient({ hosts: hostsOf(...both) });
  assert.equal((await client.fetchManifest({ ...NAME, tag: "v1" })).descriptor.digest, digest);
  const head = await client.openBlob(NAME, blob).readAt(5, 10);
  assert.ok(BYTES.subarray(5, 15).equals(head));
  assert.deepEqual(paths(mirror), [
    "/v2/team/app/manifests/v1?ns=registry.test",
    `/v2/team/app/blobs/${blob.digest}?ns=registry.test`,
  ]);
  assert.deepEqual(paths(server), []);
});

for (const status of [401, 403, 404, 429, 500, 503]) {
  test(`a mirror's ${status} leads to the next host at once`, async () => {
    await using setup = await setUp();
    const { mirror, server, both } = setup;
    mirror.intercept = (_request, response) => {
      answer(response, status);
      return true;
    };
    putManifest(server, "v1");
    const blob = server.addBlob(BYTES);
    await using client = testClient({ hosts: hostsOf(...both) });
    await client.fetchManifest({ ...NAME, tag: "v1" });
    assert.equal(mirror.requests.length, 1);
    const bytes = await client.fetchBlob(NAME, blob, { maxBytes: BYTES.length });
    assert.ok(BYTES.equals(bytes));
  });
}

test("a mirror that says nothing is not waited for like a registry's only host, and is left alone then", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  mirror.intercept = () => true;
  const blob = server.addBlob(BYTES);
  const timeouts = { otherHostMs: 100 };
  await using client = testClient({ hosts: hostsOf(...both), timeouts });
  const reader = client.openBlob(NAME, blob);
  assert.ok(BYTES.subarray(5, 15).equals(await reader.readAt(5, 10)));
  assert.ok(BYTES.subarray(50, 60).equals(await reader.readAt(50, 10)));
  assert.equal(mirror.requests.length, 1);
});

test("a dead mirror costs one request and then none until it has rested", async () => {
  await using setup = await setUp();
  const { server } = setup;
  putManifest(server, "v1");
  const logger = recordingLogger();
  const hosts = hostsOf(hostAt(DEAD), hostAt(server.url));
  mock.timers.enable({ apis: ["Date"], now: Date.now() });
  try {
    const counts: string[] = [];
    await using client = testClient({
      hosts,
      logger,
      metrics: { count: (name) => void counts.push(name), observe: () => {} },
    });
    const failures = (): number =>
      counts.filter((name) => name === "soci_registry_host_failures_total").length;
    for (let k = 0; k < 3; k++) await client.fetchManifest({ ...NAME, tag: "v1" });
    assert.equal(failures(), 1);
    assert.equal(logger.lines.filter((line) => /left alone.*127\.0\.0\.1:1"/.test(line)).length, 1);
    mock.timers.tick(31_000);
    await client.fetchManifest({ ...NAME, tag: "v1" });
    assert.equal(failures(), 2);
  } finally {
    mock.timers.reset();
  }
});

test("a host that rests is asked when nobody else answers, and not when another says there is none", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const digest = putManifest(mirror, "v1");
  let isDown = true;
  mirror.intercept = (_request, response) => {
    if (isDown) answer(response, 503);
    return isDown;
  };
  await using client = testClient({ hosts: hostsOf(...both), retry: { attempts: 1 } });
  await assert.rejects(client.fetchManifest({ ...NAME, tag: "v1" }), { code: "not_found" });
  isDown = false;
  await assert.rejects(client.fetchManifest({ ...NAME, tag: "v1" }), (error: Error) => {
    assert.ok(error instanceof RegistryError);
    assert.equal(error.status, 404);
    assert.ok(error.message.includes(`${mirror.host} (the answer is 503)`), error.message);
    return true;
  });
  assert.equal(mirror.requests.length, 1);
  server.intercept = (_request, response) => {
    response.destroy();
    return true;
  };
  const found = await client.fetchManifest({ ...NAME, tag: "v1" });
  assert.equal(found.descriptor.digest, digest);
});

test("an error names every host with its reason, and is of the server's kind", async () => {
  await using setup = await setUp();
  const { mirror, server } = setup;
  mirror.intercept = (_request, response) => {
    answer(response, 403);
    return true;
  };
  const hosts = hostsOf(hostAt(DEAD), hostAt(mirror.url), hostAt(server.url));
  await using client = testClient({ hosts });
  await assert.rejects(client.fetchManifest({ ...NAME, tag: "v1" }), (error: Error) => {
    assert.ok(error instanceof RegistryError);
    assert.equal(error.status, 404);
    const others = `127.0.0.1:1 (the connection is refused), ${mirror.host} (the answer is 403)`;
    assert.ok(error.message.includes(others), error.message);
    return true;
  });
  const nothing = testClient({ hosts: hostsOf(hostAt(DEAD), hostAt("http://127.0.0.1:2")) });
  await assert.rejects(nothing.ping(NAME.registry), (error: Error & { code?: string }) => {
    assert.equal(error.code, "unavailable");
    assert.match(error.message, /127\.0\.0\.1:2.*refused; other hosts failed too: 127\.0\.0\.1:1/);
    return true;
  });
  await nothing[Symbol.asyncDispose]();
});

test("all hosts are asked again after a transient failure", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  putManifest(server, "v1");
  server.intercept = (_request, response) => {
    const isDown = server.requests.length < 3;
    if (isDown) answer(response, 503);
    return isDown;
  };
  mirror.intercept = (_request, response) => {
    answer(response, 503);
    return true;
  };
  await using client = testClient({ hosts: hostsOf(...both) });
  await client.fetchManifest({ ...NAME, tag: "v1" });
  assert.equal(server.requests.length, 3);
});

test("a host is asked only for what it can do", async () => {
  await using setup = await setUp();
  const { mirror, server } = setup;
  const digest = putManifest(mirror, "v1");
  putManifest(server, "v1");
  const pull = { capabilities: new Set(["pull"] as const) };
  const noPush = { capabilities: new Set(["pull", "resolve"] as const) };
  const hosts = hostsOf(hostAt(mirror.url, pull), hostAt(server.url, noPush));
  await using client = testClient({ hosts });
  await client.headManifest({ ...NAME, tag: "v1" });
  await client.listTags(NAME);
  assert.equal(mirror.requests.length, 0);
  await client.fetchManifest({
    ...NAME,
    digest: sha256(mirror.manifests.get("team/app:v1")!.bytes),
  });
  assert.equal(mirror.requests.length, 1);
  assert.ok(paths(mirror)[0]?.includes(digest));
  const blob = { mediaType: "x/y", digest: sha256(BYTES), size: BYTES.length };
  await assert.rejects(client.pushBlob(NAME, blob, BYTES), {
    code: "failed_precondition",
    message: /no host of registry\.test in test has the capability "push"/,
  });
  hosts.replace(hostAt(mirror.url, pull), hostAt(server.url));
  await client.pushBlob(NAME, blob, BYTES);
  assert.ok(server.blobs.has(blob.digest));
  assert.equal(mirror.requests.length, 1);
});

test("with override_path nothing is put before the repository but what was configured", async () => {
  await using setup = await setUp();
  const { mirror, server } = setup;
  mirror.intercept = (request, response) => {
    if (request.path.startsWith("/odd/api/team/app/tags/list")) {
      const isFirst = !request.path.includes("last=");
      const link = isFirst ? { link: '</odd/api/team/app/tags/list?last=a>; rel="next"' } : {};
      answer(response, 200, link, JSON.stringify({ tags: [isFirst ? "a" : "b"] }));
    } else answer(response, 404);
    return true;
  };
  const odd = hostAt(mirror.url, { url: { origin: mirror.url, path: "/odd/api" } });
  await using client = testClient({ hosts: hostsOf(odd, hostAt(server.url)) });
  assert.deepEqual(await client.listTags(NAME), ["a", "b"]);
  assert.deepEqual(paths(mirror), [
    "/odd/api/team/app/tags/list?n=1000&ns=registry.test",
    "/odd/api/team/app/tags/list?last=a&ns=registry.test",
  ]);
});

test("headers of a host go to it alone, and neither they nor the login follow a redirect", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const blob = mirror.addBlob(BYTES);
  server.blobs.set(blob.digest, BYTES);
  mirror.blobRedirect = `${server.url}/v2/team/app/blobs/`;
  mirror.intercept = (request, response) => {
    const isIn = request.headers.authorization !== undefined;
    if (!isIn) answer(response, 401, { "www-authenticate": 'Basic realm="x"' });
    return !isIn;
  };
  const headers = { "x-mirror": "for the mirror" };
  const asked: string[] = [];
  await using client = testClient({
    hosts: hostsOf({ ...both[0], headers }, both[1]),
    credentials: {
      find: async (registry) => {
        asked.push(registry);
        return { kind: "basic", username: "me", password: "pass-word" };
      },
    },
  });
  await client.fetchBlob(NAME, blob, { maxBytes: BYTES.length });
  assert.equal(mirror.requests.at(-1)?.headers["x-mirror"], "for the mirror");
  assert.equal(server.requests.length, 1);
  assert.equal(server.requests[0]?.headers["x-mirror"], undefined);
  assert.equal(server.requests[0]?.headers.authorization, undefined);
  assert.deepEqual(asked, [mirror.host], "a mirror has its own login");
});

test("a blob whose mirror dies in the middle comes whole, the rest from the next host", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const blob = server.addBlob(BYTES);
  mirror.intercept = (_request, response) => {
    response.writeHead(200, { "content-length": BYTES.length });
    response.write(BYTES.subarray(0, 100_000), () => response.destroy());
    return true;
  };
  await using client = testClient({ hosts: hostsOf(...both) });
  const read = await collect(client.openBlob(NAME, blob).stream(0, BYTES.length));
  assert.ok(BYTES.equals(read));
  assert.equal(mirror.requests.length, 1);
  assert.equal(server.requests.length, 1);
  const start = Number(/^bytes=(\d+)-/.exec(server.requests[0]?.headers.range ?? "")?.[1]);
  assert.ok(start > 0 && start <= 100_000, `resumed at ${start}`);
});

test("the host that had a blob is asked first for the rest of it", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const descriptor = server.addBlob(BYTES);
  await using client = testClient({ hosts: hostsOf(...both) });
  const blob = client.openBlob(NAME, descriptor);
  for (let k = 0; k < 3; k++) await blob.readAt(k, 10);
  assert.equal(mirror.requests.length, 1);
  assert.equal(server.requests.length, 3);
});

test("a blob that a mirror has damaged is fetched from the next host", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const blob = server.addBlob(BYTES);
  mirror.blobs.set(blob.digest, Buffer.alloc(BYTES.length));
  await using client = testClient({ hosts: hostsOf(...both) });
  assert.ok(BYTES.equals(await client.fetchBlob(NAME, blob, { maxBytes: BYTES.length })));
  assert.equal(mirror.requests.length, 1);
});

test("a mirror's list of no referrers is not believed, the server's is", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  const subject = sha256(Buffer.from("image"));
  await using client = testClient({ hosts: hostsOf(...both) });
  assert.deepEqual(await client.listReferrers(NAME, subject), []);
  const digest = putManifest(server, "r", "image");
  for (const hasApi of [true, false]) {
    mirror.referrersApi = hasApi;
    const found = await client.listReferrers(NAME, subject);
    assert.deepEqual(
      found.map((entry) => entry.digest),
      [digest],
    );
  }
  putManifest(mirror, "m", "image");
  mirror.referrersApi = true;
  const asked = server.requests.length;
  assert.equal((await client.listReferrers(NAME, subject)).length, 1);
  assert.equal(server.requests.length, asked);
});

test("that a mirror has no manifest is no answer, and that it cannot be asked hides nothing", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  await using client = testClient({ hosts: hostsOf(...both) });
  assert.equal(await client.headManifest({ ...NAME, tag: "v1" }), undefined);
  putManifest(server, "v1");
  assert.notEqual(await client.headManifest({ ...NAME, tag: "v1" }), undefined);
  server.intercept = (_request, response) => {
    answer(response, 503);
    return true;
  };
  await assert.rejects(client.headManifest({ ...NAME, tag: "v1" }), { code: "unavailable" });
  assert.ok(mirror.requests.length > 0);
});

test("changed hosts count from the next request on", async () => {
  await using setup = await setUp();
  const { mirror, server, both } = setup;
  putManifest(mirror, "v1");
  putManifest(server, "v1");
  const hosts = hostsOf(both[0]);
  await using client = testClient({ hosts });
  await client.headManifest({ ...NAME, tag: "v1" });
  hosts.replace(both[1]);
  await client.headManifest({ ...NAME, tag: "v1" });
  assert.equal(mirror.requests.length, 1);
  assert.equal(server.requests.length, 1);
});
