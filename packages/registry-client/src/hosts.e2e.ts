import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { sha256 } from "@soci-ts/core";
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_LAYER,
  MEDIA_TYPE_OCI_MANIFEST,
} from "@soci-ts/oci";
import { hasProgram, startDockerRegistry } from "@soci-ts/testkit";
import { certsDirHosts } from "./certs-dir.ts";
import type { RegistryClient } from "./client.ts";
import { type Certificate, makeCa, makeCertificate } from "./testing/certificates.ts";
import { patternBytes, testClient } from "./testing/clients.ts";
import { startPullThroughCache } from "./testing/docker-registry.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";
import { recordingLogger } from "./testing/recorder.ts";

const LAYER = patternBytes(1_000_000);
const LAYER_DESCRIPTOR = {
  mediaType: MEDIA_TYPE_OCI_LAYER,
  digest: sha256(LAYER),
  size: LAYER.length,
};
const CONFIG = { mediaType: MEDIA_TYPE_OCI_CONFIG, digest: EMPTY_CONFIG_DIGEST, size: 2 };
const MANIFEST = encodeManifest({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE_OCI_MANIFEST,
  config: CONFIG,
  layers: [LAYER_DESCRIPTOR],
});
const NAME = { registry: "registry.test", repository: "team/app" };

async function pull(client: RegistryClient): Promise<void> {
  const { descriptor } = await client.fetchManifest({ ...NAME, tag: "v1" });
  assert.equal(descriptor.digest, sha256(MANIFEST));
  const bytes = await client.fetchBlob(NAME, LAYER_DESCRIPTOR, { maxBytes: LAYER.length });
  assert.ok(LAYER.equals(bytes));
}

describe("a chain of mirrors in hosts.toml", {
  skip: hasProgram("docker-registry") ? false : "needs docker-registry",
}, () => {
  test("a dead one, a pull-through cache, and the server when that is gone too", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mirror-chain-"));
    try {
      await using origin = await startDockerRegistry();
      const cache = await startPullThroughCache(origin.host);
      let isCacheUp = true;
      try {
        await mkdir(join(folder, NAME.registry));
        await writeFile(
          join(folder, NAME.registry, "hosts.toml"),
          `server = "http://${origin.host}"
          [host."http://127.0.0.1:1"]
            capabilities = ["pull", "resolve"]
          [host."http://${cache.host}"]
            capabilities = ["pull", "resolve"]
          `,
        );
        const logger = recordingLogger();
        const hosts = certsDirHosts({ directories: [folder] });
        await using client = testClient({ hosts, logger });
        await client.pushBlob(NAME, CONFIG, EMPTY_CONFIG);
        await client.pushBlob(NAME, LAYER_DESCRIPTOR, LAYER);
        await client.pushManifest({ ...NAME, tag: "v1" }, MEDIA_TYPE_OCI_MANIFEST, MANIFEST);
        assert.ok(!logger.lines.join().includes(cache.host), "pushed to the server only");

        logger.lines.length = 0;
        await pull(client);
        const lines = logger.lines.join("\n");
        assert.ok(lines.includes(`http://${cache.host}/v2/team/app/blobs/`), lines);
        assert.ok(!lines.includes(`http://${origin.host}`), lines);
        assert.equal(lines.match(/left alone.*"host":"127\.0\.0\.1:1"/g)?.length, 1, lines);

        isCacheUp = false;
        await cache[Symbol.asyncDispose]();
        logger.lines.length = 0;
        await pull(client);
        assert.ok(logger.lines.join().includes(`http://${origin.host}/v2/team/app/blobs/`));
        const none = client.fetchManifest({ ...NAME, tag: "none" });
        await assert.rejects(none, { code: "not_found", status: 404 });
      } finally {
        if (isCacheUp) await cache[Symbol.asyncDispose]();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("TLS by hosts.toml", { skip: hasProgram("openssl") ? false : "needs openssl" }, () => {
  let folder: string;
  let ca: Certificate;
  let client: Certificate;
  let strict: FakeRegistry;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hosts-tls-"));
    ca = await makeCa(folder, "ca");
    client = await makeCertificate(folder, ca, "client", ["DNS:client"]);
    const { cert, key } = await makeCertificate(folder, ca, "server", ["IP:127.0.0.1"]);
    strict = await startFakeRegistry(
      {},
      { cert, key, ca: ca.cert, requestCert: true, rejectUnauthorized: true },
    );
    await mkdir(join(folder, "certs.d", NAME.registry), { recursive: true });
    const both = `${await readFile(client.certFile, "utf8")}${await readFile(client.keyFile, "utf8")}`;
    await writeFile(join(folder, "both.pem"), both);
  });
  after(async () => {
    await strict?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const write = (text: string): Promise<void> =>
    writeFile(join(folder, "certs.d", NAME.registry, "hosts.toml"), text);
  const open = (): RegistryClient =>
    testClient({
      hosts: certsDirHosts({ directories: [join(folder, "certs.d")] }),
      retry: { attempts: 1 },
    });

  test("CA and client certificate count, in one file and in two, and a change counts at once", async () => {
    await using registry = open();
    const server = `server = "${strict.url}"\n`;
    await write(server);
    await assert.rejects(registry.ping(NAME.registry), {
      code: "failed_precondition",
      message: /want its CA among the trusted/,
    });
    await write(`${server}ca = "${ca.certFile}"`);
    await assert.rejects(registry.ping(NAME.registry));
    for (const pair of [
      `"${join(folder, "both.pem")}"`,
      `["${join(folder, "both.pem")}"]`,
      `[["${client.certFile}", "${client.keyFile}"]]`,
    ]) {
      const before = strict.requests.length;
      await write(`${server}ca = ["${ca.certFile}"]\nclient = ${pair}`);
      await registry.ping(NAME.registry);
      assert.equal(strict.requests.length, before + 1);
    }
    await write(`${server}ca = "missing.pem"`);
    await assert.rejects(registry.ping(NAME.registry), /missing\.pem: ENOENT/);
  });

  test("skip_verify takes any certificate of the host and its storage; the client's certificate is not shown elsewhere", async () => {
    const stranger = await makeCa(folder, "stranger");
    const other = await makeCertificate(folder, stranger, "other", ["DNS:elsewhere"]);
    await using storage = await startFakeRegistry(
      {},
      { cert: other.cert, key: other.key, requestCert: true, rejectUnauthorized: false },
    );
    storage.blobs.set(LAYER_DESCRIPTOR.digest, LAYER);
    strict.blobs.set(LAYER_DESCRIPTOR.digest, LAYER);
    strict.blobRedirect = `${storage.url}/v2/team/app/blobs/`;
    await write(
      `server = "${strict.url}"\nskip_verify = true\nclient = "${join(folder, "both.pem")}"`,
    );
    await using registry = open();
    const bytes = await registry.fetchBlob(NAME, LAYER_DESCRIPTOR, { maxBytes: LAYER.length });
    assert.ok(LAYER.equals(bytes));
    assert.equal(strict.requests.at(-1)?.hasCertificate, true);
    assert.deepEqual(
      storage.requests.map(({ hasCertificate }) => hasCertificate),
      [false],
    );
    await using plain = testClient({ plainHttp: false, retry: { attempts: 1 } });
    await assert.rejects(plain.ping(storage.host), { code: "failed_precondition" });
  });

  test("dial_timeout bounds how long a host is waited for", async () => {
    // An address for documentation: nothing answers there, or nothing leads there.
    await write(`server = "${strict.url}"\nca = "${ca.certFile}"\nclient = "${join(folder, "both.pem")}"
      [host."https://192.0.2.1"]
      dial_timeout = "300ms"`);
    await using registry = open();
    const started = performance.now();
    await registry.ping(NAME.registry);
    assert.ok(performance.now() - started < 5_000);
  });
});
