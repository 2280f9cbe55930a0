import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { digestOf, sha256 } from "@soci-ts/core";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { ask, freshFolder, manifestOf, putBlob, putManifest } from "./testing/harness.ts";

describe("HEAD", () => {
  let folder: Awaited<ReturnType<typeof freshFolder>>;
  let server: RegistryServer;
  const manifest = manifestOf([]);
  const blob = sha256(Buffer.from("{}"));
  const unknown = `sha256:${"0".repeat(64)}`;

  before(async () => {
    folder = await freshFolder();
    server = await openRegistryServer(folder.path, { referrersPerPage: 1 });
    await putManifest(server, "r", manifest, "v1");
    await putManifest(server, "r", manifest, "v2");
    const long = digestOf(manifest, "sha512");
    await ask(server, "PUT", `/v2/r/manifests/${long}?tag=long`, { body: manifest });
    const subject = { mediaType: "a/b", digest: unknown, size: 1 };
    for (const n of ["1", "2"]) {
      await putManifest(server, "r", manifestOf([], { subject, annotations: { n } }), "signature");
    }
    await putBlob(server, "r", new Uint8Array());
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  });

  const rows: [path: string, status: number][] = [
    ["/v2/", 200],
    [`/v2/r/blobs/${blob}`, 200],
    [`/v2/r/blobs/${sha256(new Uint8Array())}`, 200],
    [`/v2/r/blobs/${unknown}`, 404],
    ["/v2/r/blobs/sha256:short", 400],
    ["/v2/r/manifests/v1", 200],
    ["/v2/r/manifests/long", 200],
    [`/v2/r/manifests/${sha256(manifest)}`, 200],
    [`/v2/r/manifests/${digestOf(manifest, "sha512")}`, 200],
    ["/v2/r/manifests/none", 404],
    ["/v2/R/manifests/v1", 400],
    ["/v2/r/tags/list?n=1", 200],
    ["/v2/none/tags/list", 404],
    [`/v2/r/referrers/${unknown}?artifactType=application/vnd.oci.image.config.v1%2Bjson`, 200],
    ["/v2/r/referrers/none", 400],
    ["/v2/none", 404],
  ];
  for (const [path, status] of rows) {
    it(`answers ${path.slice(0, 60)} as GET does, without the body`, async () => {
      const got = await ask(server, "GET", path);
      const head = await ask(server, "HEAD", path);
      assert.equal(got.status, status);
      assert.equal(head.status, status);
      assert.deepEqual(head.headers, got.headers);
      assert.equal(head.headers["Content-Length"], String(got.bytes.length));
      assert.equal(head.bytes.length, 0);
    });
  }
});
