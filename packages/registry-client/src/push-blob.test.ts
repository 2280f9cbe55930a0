import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "@soci-ts/core";
import { UPLOAD_CHUNK_BYTES } from "./limits.ts";
import { collect, patternBytes, repositoryOn, testClient } from "./testing/clients.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";
import { answer, startServer } from "./testing/http-server.ts";

const SMALL = patternBytes(50_000);
const LARGE = patternBytes(2 * UPLOAD_CHUNK_BYTES + 1000);

const descriptorOf = (bytes: Uint8Array) =>
  ({ mediaType: "application/octet-stream", digest: sha256(bytes), size: bytes.length }) as const;
const methods = (registry: FakeRegistry): string =>
  registry.requests.map(({ method }) => method).join(" ");

/** A stream in odd pieces, and how often it was opened. */
function streamOf(bytes: Uint8Array): {
  open: () => AsyncIterable<Uint8Array>;
  opened: () => number;
} {
  let opened = 0;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 77_777) yield bytes.subarray(at, at + 77_777);
  }
  const open = (): AsyncIterable<Uint8Array> => {
    opened += 1;
    return pieces();
  };
  return { open, opened: () => opened };
}

test("a small blob is sent in one piece, and not again", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  assert.deepEqual(await client.pushBlob(name, descriptorOf(SMALL), SMALL), { outcome: "pushed" });
  assert.equal(methods(registry), "HEAD POST PUT");
  assert.deepEqual(await client.pushBlob(name, descriptorOf(SMALL), SMALL), { outcome: "existed" });
  assert.equal(methods(registry), "HEAD POST PUT HEAD");
  assert.match(
    registry.requests[2]?.path ?? "",
    /\?state=a%2Bb&digest=sha256%3A/,
    "the registry's query stays as it was",
  );
});

test("an empty blob and a stream are pushed", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  await client.pushBlob(name, descriptorOf(new Uint8Array()), new Uint8Array());
  await client.pushBlob(name, descriptorOf(SMALL), streamOf(SMALL).open);
  assert.deepEqual([...registry.blobs.keys()], [sha256(new Uint8Array()), sha256(SMALL)]);
});

test("a large blob is sent in chunks", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const stream = streamOf(LARGE);
  await client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), stream.open);
  assert.equal(methods(registry), "HEAD POST PATCH PATCH PATCH PUT");
  assert.equal(registry.blobs.get(sha256(LARGE))?.equals(LARGE), true);
  assert.equal(stream.opened(), 1);
});

test("a blob is mounted from another repository, or pushed where that is not possible", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  registry.intercept = (request, response) => {
    if (request.method === "HEAD") answer(response, 404);
    return request.method === "HEAD";
  };
  const pushed = await client.pushBlob(name, descriptorOf(SMALL), SMALL, {
    mountFrom: "team/base",
  });
  assert.deepEqual(pushed, { outcome: "pushed" });
  const mounted = await client.pushBlob(name, descriptorOf(SMALL), SMALL, {
    mountFrom: "team/base",
  });
  assert.deepEqual(mounted, { outcome: "mounted" });
  assert.match(registry.requests.at(-1)?.path ?? "", /\?mount=sha256%3A\w+&from=team%2Fbase$/);
});

test("an upload that breaks off goes on where the registry is", async () => {
  await using registry = await startFakeRegistry();
  let breaks = 2;
  registry.intercept = (request, response) => {
    if (request.method !== "PATCH" || breaks === 0) return false;
    breaks -= 1;
    const id = /uploads\/([^?]+)/.exec(request.path)?.[1] ?? "";
    const held = registry.uploads.get(id) ?? Buffer.alloc(0);
    registry.uploads.set(id, Buffer.concat([held, request.body.subarray(0, 123_456)]));
    response.destroy();
    return true;
  };
  await using client = testClient();
  const stream = streamOf(LARGE);
  await client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), stream.open);
  assert.equal(registry.blobs.get(sha256(LARGE))?.equals(LARGE), true);
  assert.match(methods(registry), /^HEAD POST PATCH GET PATCH GET PATCH PATCH PUT$/);
});

test("an upload whose session is lost begins anew", async () => {
  await using registry = await startFakeRegistry();
  let losses = 1;
  registry.intercept = (request, response) => {
    if (request.method !== "PATCH" || registry.requests.length < 4 || losses === 0) return false;
    losses -= 1;
    registry.uploads.clear();
    answer(response, 500);
    return true;
  };
  await using client = testClient();
  await client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), LARGE);
  assert.equal(registry.blobs.get(sha256(LARGE))?.equals(LARGE), true);
});

test("an upload whose last answer is lost counts as done", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    if (request.method !== "PUT") return false;
    registry.addBlob(request.body);
    response.destroy();
    return true;
  };
  await using client = testClient();
  assert.deepEqual(await client.pushBlob(repositoryOn(registry), descriptorOf(SMALL), SMALL), {
    outcome: "pushed",
  });
  assert.equal(methods(registry), "HEAD POST PUT HEAD");
});

test("an upload that never succeeds ends in bounded requests", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    if (request.method === "PUT") answer(response, 500);
    return request.method === "PUT";
  };
  await using client = testClient();
  await assert.rejects(client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), LARGE), {
    code: "unavailable",
  });
  assert.ok(registry.requests.length < 40, String(registry.requests.length));
});

test("a registry that loses every chunk ends in bounded requests", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    if (request.method !== "PATCH") return false;
    answer(response, 202, { range: "0-0", location: request.path });
    return true;
  };
  await using client = testClient();
  await assert.rejects(client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), LARGE), {
    code: "data_loss",
  });
  assert.ok(registry.requests.length < 20, String(registry.requests.length));
});

test("content that is not as long as its descriptor says is refused", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  for (const size of [SMALL.length - 1, SMALL.length + 1]) {
    const descriptor = { ...descriptorOf(SMALL), size };
    await assert.rejects(client.pushBlob(name, descriptor, SMALL), { code: "invalid_argument" });
    await assert.rejects(client.pushBlob(name, descriptor, streamOf(SMALL).open), {
      code: "invalid_argument",
    });
  }
  assert.equal(registry.blobs.size, 0);
});

test("content of another digest is refused by the registry, and that is not repeated", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const descriptor = { ...descriptorOf(LARGE), size: SMALL.length };
  await assert.rejects(client.pushBlob(repositoryOn(registry), descriptor, SMALL), {
    code: "invalid_argument",
    message: /DIGEST_INVALID/,
  });
  assert.equal(methods(registry), "HEAD POST PUT");
});

test("an upload elsewhere gets no Authorization", async () => {
  await using registry = await startFakeRegistry();
  await using store = await startServer((_request, response) => answer(response, 201));
  registry.intercept = (request, response) => {
    if (request.headers.authorization === undefined)
      answer(response, 401, { "www-authenticate": "Basic realm=x" });
    else if (request.method === "POST")
      answer(response, 202, { location: `${store.url}/up?sig=s3cret` });
    else return false;
    return true;
  };
  const credentials = {
    find: async () => ({ kind: "basic", username: "me", password: "s3cret" }) as const,
  };
  await using client = testClient({ credentials });
  await client.pushBlob(repositoryOn(registry), descriptorOf(SMALL), SMALL);
  assert.equal(store.requests[0]?.headers.authorization, undefined);
  assert.equal(store.requests[0]?.body.equals(SMALL), true);
});

test("a chunk size that the registry wants is used, within bounds", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  let wanted = String(2 * UPLOAD_CHUNK_BYTES);
  const original = registry.handler;
  registry.handler = (request, response) => {
    if (request.method === "POST" || request.method === "PATCH")
      response.setHeader("oci-chunk-min-length", wanted);
    return original(request, response);
  };
  await client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), LARGE);
  assert.equal(methods(registry), "HEAD POST PATCH PATCH PUT");
  wanted = "100000000000";
  registry.blobs.clear();
  await assert.rejects(client.pushBlob(repositoryOn(registry), descriptorOf(LARGE), LARGE), {
    code: "unimplemented",
  });
});

test("a registry that names no upload is an error", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    if (request.method === "POST") answer(response, 202);
    return request.method === "POST";
  };
  await using client = testClient();
  await assert.rejects(client.pushBlob(repositoryOn(registry), descriptorOf(SMALL), SMALL), {
    code: "data_loss",
  });
});

test("what was pushed reads back", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const name = repositoryOn(registry);
  await client.pushBlob(name, descriptorOf(LARGE), LARGE);
  const read = await collect(client.openBlob(name, descriptorOf(LARGE)).stream(0, LARGE.length));
  assert.equal(read.equals(LARGE), true);
});
