import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { Agent, get, type IncomingMessage, request } from "node:http";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ManifestOCI, RegistryClientV2 } from "oci-registry-client";
import { testConfig } from "./testing/config.ts";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Service, startService } from "./wire.ts";

let folder: Awaited<ReturnType<typeof freshFolder>>;
let service: Service;
let url: string;

before(async () => {
  folder = await freshFolder();
  service = await startService(testConfig(folder.path));
  url = service.url;
});
after(async () => {
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const codesOf = (bytes: Buffer): string[] =>
  (JSON.parse(bytes.toString()) as { errors: { code: string }[] }).errors.map(({ code }) => code);

async function pushBlob(repository: string, bytes: Uint8Array): Promise<string> {
  const digest = digestOf(bytes);
  const answer = await ask(url, "POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, {
    body: bytes,
  });
  assert.equal(answer.status, 201);
  return digest;
}

async function pushImage(
  repository: string,
  tag: string,
): Promise<{ layer: Buffer; manifest: Buffer }> {
  const layer = randomBytes(300_000);
  const config = Buffer.from('{"architecture":"amd64","os":"linux"}');
  const descriptor = async (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: await pushBlob(repository, bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: await descriptor("application/vnd.oci.image.config.v1+json", config),
      layers: [await descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }),
  );
  const headers = { "content-type": MANIFEST };
  const put = await ask(url, "PUT", `/v2/${repository}/manifests/${tag}`, {
    body: manifest,
    headers,
  });
  assert.equal(put.status, 201);
  return { layer, manifest };
}

describe("the distribution API over HTTP", () => {
  it("answers the base path", async () => {
    for (const path of ["/v2", "/v2/"]) {
      const answer = await ask(url, "GET", path);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["docker-distribution-api-version"], "registry/2.0");
      assert.equal(answer.headers["content-type"], "application/json");
    }
  });

  it("serves blobs whole, in part, and as HEAD with the same headers", async () => {
    const bytes = randomBytes(1_000_000);
    const path = `/v2/blobs/here/blobs/${await pushBlob("blobs/here", bytes)}`;
    const whole = await ask(url, "GET", path);
    assert.deepEqual(whole.bytes, bytes);
    const head = await ask(url, "HEAD", path);
    assert.equal(head.status, 200);
    assert.equal(head.bytes.length, 0);
    for (const name of [
      "content-length",
      "content-type",
      "etag",
      "docker-content-digest",
      "accept-ranges",
    ]) {
      assert.equal(head.headers[name], whole.headers[name], name);
    }
    const part = await ask(url, "GET", path, { headers: { range: "bytes=999000-" } });
    assert.equal(part.status, 206);
    assert.equal(part.headers["content-range"], "bytes 999000-999999/1000000");
    assert.deepEqual(part.bytes, bytes.subarray(999_000));
    const none = await ask(url, "GET", path, { headers: { "if-none-match": whole.headers.etag! } });
    assert.equal(none.status, 304);
    const empty = await pushBlob("blobs/here", new Uint8Array());
    assert.equal(
      (await ask(url, "GET", `/v2/blobs/here/blobs/${empty}`)).headers["content-length"],
      "0",
    );
  });

  it("takes bodies of any content type as they are", async () => {
    const bytes = Buffer.from('{"this":"is not parsed"');
    for (const type of [
      "application/json",
      "text/plain",
      "application/x-www-form-urlencoded",
      undefined,
    ]) {
      const headers = type === undefined ? {} : { "content-type": type };
      const path = `/v2/types/blobs/uploads/?digest=${digestOf(bytes)}`;
      assert.equal((await ask(url, "POST", path, { body: bytes, headers })).status, 201, type);
    }
  });

  it("speaks the specification's errors for every refusal", async () => {
    const rows: [method: string, path: string, status: number, code: string][] = [
      ["GET", "/v2/x/../y/tags/list", 400, "NAME_INVALID"],
      ["GET", "/v2/x/%2e%2e/y/tags/list", 400, "NAME_INVALID"],
      ["GET", "/v2/x%/tags/list", 400, "NAME_INVALID"],
      ["GET", "/v2//tags/list", 400, "NAME_INVALID"],
      ["GET", "/v2/x/manifests/..%2f..%2fetc", 404, "MANIFEST_UNKNOWN"],
      ["PUT", "/v2/x/manifests/.x", 400, "MANIFEST_INVALID"],
      ["GET", `/v2/x/blobs/sha256:${"g".repeat(64)}`, 400, "DIGEST_INVALID"],
      ["PUT", "/v2/x/tags/list", 405, "UNSUPPORTED"],
      ["OPTIONS", "/v2/x/tags/list", 405, "UNSUPPORTED"],
      ["GET", "/v2/_catalog", 404, "UNSUPPORTED"],
    ];
    for (const [method, path, status, code] of rows) {
      const answer = await ask(url, method, path);
      assert.equal(answer.status, status, `${method} ${path}`);
      assert.deepEqual(codesOf(answer.bytes), [code], `${method} ${path}`);
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
    }
    const odd = { body: Buffer.from("{}"), headers: { "content-type": "no type at all" } };
    assert.equal((await ask(url, "PUT", "/v2/x/manifests/v1", odd)).status, 415);
  });

  it("refuses early and leaves the connection usable when the body is small enough to skip", async () => {
    await using agent = disposableAgent();
    const post = await ask(url, "POST", "/v2/early/blobs/uploads/");
    const path = post.headers.location!;
    for (let i = 0; i < 3; i++) {
      const headers = { "content-range": "10-4000009" };
      const body = randomBytes(4_000_000);
      const answer = await ask(url, "PATCH", path, { body, headers, agent: agent.value });
      assert.equal(answer.status, 416);
      assert.equal(answer.headers["range"], "0-0");
    }
    const large = {
      body: randomBytes(5_000_000),
      headers: { "content-type": MANIFEST },
      agent: agent.value,
    };
    assert.equal((await ask(url, "PUT", "/v2/early/manifests/v1", large)).status, 413);
    assert.equal((await ask(url, "GET", path, { agent: agent.value })).status, 204);
  });

  it("drops a client that goes on sending what was refused", async () => {
    const outgoing = request(url, { method: "PUT", path: "/v2/early/manifests/v1" });
    const closed = new Promise((resolve) => outgoing.on("close", resolve));
    outgoing.on("error", () => {});
    outgoing.on("response", (response) => response.resume());
    const piece = Buffer.alloc(1_000_000);
    let sent = 0;
    while (!outgoing.destroyed && sent < 100) {
      sent += 1;
      outgoing.write(piece);
      await sleep(1);
    }
    await closed;
    assert.ok(sent < 100, `${sent} MB sent`);
  });

  it("keeps what arrived of an upload whose client vanished", async () => {
    const bytes = randomBytes(2_000_000);
    const { headers } = await ask(url, "POST", "/v2/cut/blobs/uploads/");
    const path = headers.location!;
    const outgoing = request(url, {
      method: "PATCH",
      path,
      headers: { "content-length": bytes.length },
    });
    outgoing.on("error", () => {});
    outgoing.write(bytes.subarray(0, 1_000_000));
    await waitFor(async () => (await ask(url, "GET", path)).headers["range"] === "0-999999");
    outgoing.destroy();
    const rest = {
      body: bytes.subarray(1_000_000),
      headers: { "content-range": "1000000-1999999" },
    };
    await waitFor(async () => (await ask(url, "PATCH", path, rest)).status === 202);
    assert.equal((await ask(url, "PUT", `${path}?digest=${digestOf(bytes)}`)).status, 201);
  });

  it("closes files when clients vanish in the middle of a download", async () => {
    const digest = await pushBlob("fds", randomBytes(20_000_000));
    const openFiles = (): number => readdirSync("/proc/self/fd").length;
    const before = openFiles();
    for (let i = 0; i < 20; i++) {
      const [response] = (await once(get(`${url}/v2/fds/blobs/${digest}`), "response")) as [
        IncomingMessage,
      ];
      await once(response, "data");
      response.destroy();
    }
    await waitFor(async () => openFiles() <= before + 2);
  });

  it("stores a blob once that many clients push at the same time", async () => {
    const bytes = randomBytes(3_000_000);
    const digest = digestOf(bytes);
    const statuses = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const { headers } = await ask(url, "POST", "/v2/same/blobs/uploads/");
        return (await ask(url, "PUT", `${headers.location}?digest=${digest}`, { body: bytes }))
          .status;
      }),
    );
    assert.deepEqual(new Set(statuses), new Set([201]));
    assert.deepEqual((await ask(url, "GET", `/v2/same/blobs/${digest}`)).bytes, bytes);
  });

  it("lets a foreign client list, pull and push", async () => {
    const { layer, manifest } = await pushImage("foreign/image", "v1");
    const client = new RegistryClientV2({
      name: `${new URL(url).host}/foreign/image`,
      insecure: true,
      scopes: ["pull", "push"],
      acceptOCIManifests: true,
    });
    await client.supportsV2();
    assert.deepEqual(await client.listTags(), { name: "foreign/image", tags: ["v1"] });
    const pulled = await client.getManifest({ ref: "v1", acceptOCIManifests: true });
    assert.deepEqual(Buffer.from(await pulled.resp.dockerBody()), manifest);
    const { layers } = pulled.manifest as ManifestOCI;
    const { stream } = await client.createBlobReadStream({ digest: layers[0]!.digest });
    const pieces: Uint8Array[] = [];
    for await (const piece of stream) pieces.push(piece as unknown as Uint8Array);
    assert.deepEqual(Buffer.concat(pieces), layer);
    const put = await client.putManifest({
      manifestData: manifest,
      ref: "v2",
      mediaType: MANIFEST,
    });
    assert.equal(put.digest, digestOf(manifest));
    assert.deepEqual((await client.listTags()).tags, ["v1", "v2"]);
  });

  it("pages referrers to a client that follows links", async () => {
    const { manifest } = await pushImage("linked", "v1");
    const subject = { mediaType: MANIFEST, digest: digestOf(manifest), size: manifest.length };
    const artifact = Buffer.from(
      JSON.stringify({ ...JSON.parse(manifest.toString()), subject, artifactType: "a/b" }),
    );
    const headers = { "content-type": MANIFEST };
    const put = await ask(url, "PUT", `/v2/linked/manifests/${digestOf(artifact)}`, {
      body: artifact,
      headers,
    });
    assert.equal(put.headers["oci-subject"], subject.digest);
    const list = await ask(url, "GET", `/v2/linked/referrers/${subject.digest}?artifactType=a/b`);
    assert.equal(list.headers["oci-filters-applied"], "artifactType");
    assert.equal(list.headers["content-type"], "application/vnd.oci.image.index.v1+json");
    const { manifests } = JSON.parse(list.bytes.toString()) as { manifests: { digest: string }[] };
    assert.deepEqual(
      manifests.map(({ digest }) => digest),
      [digestOf(artifact)],
    );
  });
});

describe("startService()", () => {
  it("lets a request under way end before it stops", async () => {
    await using own = await freshFolder();
    const stopping = await startService(testConfig(own.path));
    const bytes = randomBytes(100_000);
    const path = `/v2/r/blobs/uploads/?digest=${digestOf(bytes)}`;
    const outgoing = request(`${stopping.url}${path}`, {
      method: "POST",
      headers: { "content-length": bytes.length },
    });
    const answered = once(outgoing, "response") as Promise<[IncomingMessage]>;
    outgoing.write(bytes.subarray(0, 50_000));
    await sleep(100);
    const stopped = stopping[Symbol.asyncDispose]();
    await sleep(100);
    outgoing.end(bytes.subarray(50_000));
    const [response] = await answered;
    response.resume();
    assert.equal(response.statusCode, 201);
    await stopped;
    await assert.rejects(ask(stopping.url, "GET", "/v2/"));
  });

  it("takes manifests without what they refer to where the configuration says so", async () => {
    const blob = { mediaType: "a/b", digest: digestOf(Buffer.from("absent")), size: 6 };
    const body = Buffer.from(JSON.stringify({ schemaVersion: 2, config: blob, layers: [] }));
    for (const [text, status] of [
      ["", 400],
      ['references = "unchecked"', 201],
    ] as const) {
      await using own = await freshFolder();
      await using sparse = await startService(testConfig(own.path, text));
      const answer = await ask(sparse.url, "PUT", "/v2/r/manifests/v1", { body });
      assert.equal(answer.status, status);
      if (status === 400) assert.deepEqual(codesOf(answer.bytes), ["MANIFEST_BLOB_UNKNOWN"]);
      else assert.match(String(answer.headers["warning"]), /^299 - "1 of the blobs/);
    }
  });

  it("refuses a root that another process has open", { timeout: 60_000 }, async () => {
    await assert.rejects(startService(testConfig(folder.path)), /another process has it open/);
  });
});

function disposableAgent(): AsyncDisposable & { readonly value: Agent } {
  const value = new Agent({ keepAlive: true, maxSockets: 1 });
  return { value, [Symbol.asyncDispose]: async () => value.destroy() };
}

async function waitFor(isDone: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!(await isDone())) {
    assert.ok(Date.now() < deadline, "waited 5 s in vain");
    await sleep(20);
  }
}
