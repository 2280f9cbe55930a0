import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hasProgram } from "@soci-ts/testkit";
import { type Certificate, makeCa, makeCertificate } from "./testing/certificates.ts";
import { patternBytes, repositoryOn, testClient } from "./testing/clients.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";

const skip = hasProgram("openssl") ? false : "needs openssl";

/** A proxy that opens tunnels to `target`, whatever host is asked for. */
async function startTunnelProxy(
  target: string,
): Promise<{ server: Server; host: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer();
  server.on("connect", (request, socket) => {
    asked.push(`${request.url} ${request.headers["proxy-authorization"] ?? ""}`);
    const [host = "", port = ""] = target.split(":");
    const upstream = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    for (const end of [upstream, socket]) end.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return { server, host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`, asked };
}

describe("TLS", { skip }, () => {
  let folder: string;
  let ca: Certificate;
  let certificate: Certificate;
  let registry: FakeRegistry;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "registry-tls-"));
    ca = await makeCa(folder, "ca");
    certificate = await makeCertificate(folder, ca, "server", [
      "IP:127.0.0.1",
      "DNS:registry.test",
    ]);
    registry = await startFakeRegistry({}, { cert: certificate.cert, key: certificate.key });
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test("a CA in caFile, in the system's bundle or in certs.d is trusted; without it the error says what to do", async () => {
    const certsDir = join(folder, "certs.d");
    await mkdir(join(certsDir, registry.host), { recursive: true });
    await copyFile(ca.certFile, join(certsDir, registry.host, "ca.crt"));
    for (const trust of [
      { caFile: ca.certFile },
      { systemCaFiles: ["/missing", ca.certFile] },
      { certsDir },
    ]) {
      await using client = testClient({ plainHttp: "auto", ...trust });
      assert.equal((await client.ping(registry.host)).protocol, "https:");
    }
    await using stranger = testClient({ plainHttp: "auto" });
    await assert.rejects(stranger.ping(registry.host), {
      code: "failed_precondition",
      message: /want its CA among the trusted/,
    });
  });

  test("a certificate of another host is refused", async () => {
    await using client = testClient({ plainHttp: false, caFile: ca.certFile });
    const host = registry.host.replace("127.0.0.1", "localhost");
    await assert.rejects(client.ping(host), {
      code: "failed_precondition",
      message: /ERR_TLS_CERT_ALTNAME_INVALID/,
    });
  });

  test("a client certificate in certs.d is shown", async () => {
    const client = await makeCertificate(folder, ca, "client", ["DNS:client"]);
    await using strict = await startFakeRegistry(
      {},
      {
        cert: certificate.cert,
        key: certificate.key,
        ca: ca.cert,
        requestCert: true,
        rejectUnauthorized: true,
      },
    );
    const certsDir = join(folder, "client-certs.d");
    const own = join(certsDir, strict.host);
    await mkdir(own, { recursive: true });
    await copyFile(ca.certFile, join(own, "ca.crt"));
    await using without = testClient({ plainHttp: "auto", certsDir, retry: { attempts: 1 } });
    await assert.rejects(without.ping(strict.host));
    await copyFile(client.certFile, join(own, "client.cert"));
    await using half = testClient({ plainHttp: "auto", certsDir });
    await assert.rejects(half.ping(strict.host), {
      code: "failed_precondition",
      message: /client\.key is missing/,
    });
    await copyFile(client.keyFile, join(own, "client.key"));
    await using whole = testClient({ plainHttp: "auto", certsDir });
    await whole.ping(strict.host);
  });

  test("files that are missing or hold no certificate are named", async () => {
    const rubbish = join(folder, "rubbish.pem");
    await writeFile(rubbish, "rubbish");
    const broken = join(folder, "broken.pem");
    await writeFile(broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (const [caFile, want] of [
      ["/missing.pem", /missing\.pem/],
      [rubbish, /rubbish\.pem/],
      [broken, /broken\.pem/],
    ] as const) {
      await using client = testClient({ plainHttp: false, caFile });
      await assert.rejects(client.ping("registry.test"), {
        code: "failed_precondition",
        message: want,
      });
    }
  });

  test("blobs come over TLS, with a redirect to plain HTTP refused elsewhere than on the loopback", async () => {
    await using client = testClient({ plainHttp: "auto", caFile: ca.certFile });
    const bytes = patternBytes(200_000);
    const blob = client.openBlob(repositoryOn(registry), registry.addBlob(bytes));
    assert.equal(
      Buffer.from(await blob.readAt(10, 100_000)).equals(bytes.subarray(10, 100_010)),
      true,
    );
    registry.blobRedirect = "http://cdn.example/";
    await assert.rejects(blob.readAt(0, 10), {
      code: "failed_precondition",
      message: /a URL in plain HTTP/,
    });
    registry.blobRedirect = undefined;
  });

  test("https goes through a proxy's tunnel, with its login, and the certificate is checked behind it", async () => {
    const { server, host, asked } = await startTunnelProxy(registry.host);
    try {
      const httpsProxy = `http://me:proxy-pass@${host}`;
      await using client = testClient({
        plainHttp: false,
        caFile: ca.certFile,
        proxy: { httpsProxy },
      });
      await client.ping("registry.test");
      const login = Buffer.from("me:proxy-pass").toString("base64");
      assert.deepEqual(asked, [`registry.test:443 Basic ${login}`]);
      await assert.rejects(client.ping("other.test"), { message: /ERR_TLS_CERT_ALTNAME_INVALID/ });
      await client.ping(registry.host);
      assert.equal(asked.length, 2, "the loopback is reached directly");
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
