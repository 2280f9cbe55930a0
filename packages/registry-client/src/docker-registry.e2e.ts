import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { sha256 } from "@soci-ts/core";
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_LAYER,
  MEDIA_TYPE_OCI_MANIFEST,
} from "@soci-ts/oci";
import { command, hasProgram, type RunningRegistry, startDockerRegistry } from "@soci-ts/testkit";
import { RegistryClient } from "./client.ts";
import { loadCredentials } from "./credential-files.ts";
import { UPLOAD_CHUNK_BYTES } from "./limits.ts";
import { makeCa, makeCertificate } from "./testing/certificates.ts";
import { collect, patternBytes, repositoryOn } from "./testing/clients.ts";
import { REGISTRY_USER, startSecuredRegistry } from "./testing/docker-registry.ts";

const skip = hasProgram("docker-registry") ? false : "needs docker-registry";
const PUSH_PROGRAM = fileURLToPath(new URL("./testing/push-referrers.js", import.meta.url));
const PROCESSES = 5;
const REFERRERS_EACH = 3;

const SMALL = patternBytes(100_000);
const LARGE = patternBytes(2 * UPLOAD_CHUNK_BYTES + 4321);
const descriptorOf = (bytes: Uint8Array, mediaType: string = MEDIA_TYPE_OCI_LAYER) =>
  ({ mediaType, digest: sha256(bytes), size: bytes.length }) as const;
const CONFIG = { mediaType: MEDIA_TYPE_OCI_CONFIG, digest: EMPTY_CONFIG_DIGEST, size: 2 };
const MANIFEST = encodeManifest({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE_OCI_MANIFEST,
  config: CONFIG,
  layers: [descriptorOf(SMALL)],
});

/** Forwards to `target`; breaks one connection, that over which the `bytes`th byte comes. */
async function startBreakingProxy(
  target: string,
  bytes: number,
): Promise<AsyncDisposable & { host: string; breaks: () => number }> {
  let breaks = 0;
  let received = 0;
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((client) => {
    const [host = "", port = ""] = target.split(":");
    const upstream = connect(Number(port), host);
    client.on("data", (piece) => {
      received += piece.length;
      if (received <= bytes || breaks > 0) return;
      breaks += 1;
      client.destroy();
      upstream.end();
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    client.pipe(upstream).pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    breaks: () => breaks,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe("docker-registry", { skip }, () => {
  let registry: RunningRegistry;
  let client: RegistryClient;

  before(async () => {
    registry = await startDockerRegistry();
    client = new RegistryClient();
  });
  after(async () => {
    await client?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  test("blobs are pushed whole, in chunks and by mounting, and read by ranges", async () => {
    const name = repositoryOn(registry, "e2e/blobs");
    assert.deepEqual(await client.pushBlob(name, descriptorOf(SMALL), SMALL), {
      outcome: "pushed",
    });
    assert.deepEqual(await client.pushBlob(name, descriptorOf(LARGE), LARGE), {
      outcome: "pushed",
    });
    assert.deepEqual(await client.pushBlob(name, descriptorOf(LARGE), LARGE), {
      outcome: "existed",
    });
    const other = repositoryOn(registry, "e2e/other");
    const mounted = await client.pushBlob(other, descriptorOf(LARGE), LARGE, {
      mountFrom: "e2e/blobs",
    });
    assert.deepEqual(mounted, { outcome: "mounted" });
    const blob = client.openBlob(other, descriptorOf(LARGE));
    for (const [start, end] of [
      [0, 1],
      [4_000_000, 9_000_000],
      [LARGE.length - 1, LARGE.length],
      [0, LARGE.length],
    ] as const) {
      assert.ok(
        (await collect(blob.stream(start, end))).equals(LARGE.subarray(start, end)),
        `${start}-${end}`,
      );
    }
    assert.ok(
      SMALL.equals(await client.fetchBlob(name, descriptorOf(SMALL), { maxBytes: 1_000_000 })),
    );
    assert.equal(await client.blobExists(name, sha256(Buffer.from("no"))), false);
  });

  test("an upload whose connection breaks goes on", async () => {
    await using proxy = await startBreakingProxy(registry.host, UPLOAD_CHUNK_BYTES + 3_000_000);
    const name = repositoryOn(proxy, "e2e/broken");
    assert.deepEqual(await client.pushBlob(name, descriptorOf(LARGE), LARGE), {
      outcome: "pushed",
    });
    assert.equal(proxy.breaks(), 1);
    const read = await collect(
      client
        .openBlob(repositoryOn(registry, "e2e/broken"), descriptorOf(LARGE))
        .stream(0, LARGE.length),
    );
    assert.ok(read.equals(LARGE));
  });

  test("manifests are pushed, found, fetched and listed", async () => {
    const name = repositoryOn(registry, "e2e/manifests");
    await client.pushBlob(name, CONFIG, EMPTY_CONFIG);
    await client.pushBlob(name, descriptorOf(SMALL), SMALL);
    const descriptor = descriptorOf(MANIFEST, MEDIA_TYPE_OCI_MANIFEST);
    for (const tag of ["v1", "v2"]) {
      const pushed = await client.pushManifest({ ...name, tag }, MEDIA_TYPE_OCI_MANIFEST, MANIFEST);
      assert.deepEqual(pushed, { descriptor, subjectHandled: false });
    }
    assert.deepEqual(await client.headManifest({ ...name, tag: "v2" }), descriptor);
    assert.equal(await client.headManifest({ ...name, tag: "none" }), undefined);
    const fetched = await client.fetchManifest({ ...name, digest: descriptor.digest });
    assert.deepEqual(fetched.descriptor, descriptor);
    assert.ok(Buffer.from(MANIFEST).equals(fetched.bytes));
    assert.deepEqual((await client.listTags(name)).sort(), ["v1", "v2"]);
    await assert.rejects(client.fetchManifest({ ...name, tag: "none" }), {
      code: "not_found",
      status: 404,
    });
    await assert.rejects(client.listTags(repositoryOn(registry, "e2e/nowhere")), {
      code: "not_found",
    });
  });

  test("no referrer is lost when several processes push at the same time", async () => {
    const name = repositoryOn(registry, "e2e/referrers");
    await client.pushBlob(name, CONFIG, EMPTY_CONFIG);
    const subject = sha256(MANIFEST);
    assert.deepEqual(await client.listReferrers(name, subject), []);
    const runs = Array.from({ length: PROCESSES }, (_, k) =>
      command(process.execPath, [
        PUSH_PROGRAM,
        name.registry,
        name.repository,
        subject,
        String(REFERRERS_EACH),
        `p${k}`,
      ]),
    );
    const pushed = (await Promise.all(runs)).flatMap(({ stdout }) => stdout.trim().split("\n"));
    const listed = await client.listReferrers(name, subject);
    assert.equal(pushed.length, PROCESSES * REFERRERS_EACH);
    assert.deepEqual(listed.map(({ digest }) => digest).sort(), pushed.sort());
  });
});

describe("docker-registry with TLS and a login", {
  skip: skip || (hasProgram("openssl") ? false : "needs openssl"),
}, () => {
  test("credentials from a file are used, and wrong ones refused without telling them", async () => {
    const folder = await mkdtemp(join(tmpdir(), "registry-login-"));
    try {
      const ca = await makeCa(folder, "ca");
      const certificate = await makeCertificate(folder, ca, "server", ["IP:127.0.0.1"]);
      await using registry = await startSecuredRegistry(certificate);
      const file = join(folder, "config.json");
      const login = async (password: string): Promise<RegistryClient> => {
        const auth = Buffer.from(`${REGISTRY_USER.username}:${password}`).toString("base64");
        await writeFile(file, JSON.stringify({ auths: { [registry.host]: { auth } } }));
        return new RegistryClient({
          caFile: ca.certFile,
          credentials: loadCredentials({ files: [file] }),
        });
      };
      const name = repositoryOn(registry, "e2e/login");
      await using right = await login(REGISTRY_USER.password);
      assert.deepEqual(await right.pushBlob(name, descriptorOf(LARGE), LARGE), {
        outcome: "pushed",
      });
      assert.ok(
        (await collect(right.openBlob(name, descriptorOf(LARGE)).stream(5, 5_000_000))).equals(
          LARGE.subarray(5, 5_000_000),
        ),
      );
      await using wrong = await login("wrong-pass");
      await assert.rejects(wrong.ping(registry.host), (error: Error & { code?: string }) => {
        assert.equal(error.code, "unauthenticated");
        assert.doesNotMatch(JSON.stringify(error) + String(error.stack), /wrong-pass/);
        return true;
      });
      await using anonymous = new RegistryClient({ caFile: ca.certFile });
      await assert.rejects(anonymous.ping(registry.host), { code: "unauthenticated" });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
