import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { type Answer, ask, codes, freshFolder, manifestOf, putBlob } from "./testing/harness.ts";
import { warningHeader } from "./warnings.ts";

describe("warningHeader()", () => {
  it("tells all sentences in one value, with code and agent and without a date", () => {
    assert.deepEqual(warningHeader([]), {});
    assert.deepEqual(warningHeader(["One.", "Two."]), { Warning: '299 - "One. Two."' });
  });

  it("lets nothing out of the quotes, and is never longer than 4096 bytes", () => {
    const { Warning } = warningHeader(['a"b\\c\r\nWarning: d\u0000\u00fc']);
    assert.equal(Warning, "299 - \"a'b'c??Warning: d??\"");
    const long = warningHeader(["x".repeat(5000), "y"]).Warning;
    assert.equal(long?.length, 4096);
    assert.match(long ?? "", /^299 - "x+"$/);
  });
});

describe("a stored manifest that is worth a warning", () => {
  let folder: Awaited<ReturnType<typeof freshFolder>>;
  let server: RegistryServer;
  const absent = sha256(randomBytes(9));
  const subject = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: absent, size: 9 };

  before(async () => {
    folder = await freshFolder();
    server = await openRegistryServer(folder.path, { allowsSparse: true });
    await putBlob(server, "r", Buffer.from("{}"));
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  });

  const put = (body: Buffer, type = MEDIA_TYPE_OCI_MANIFEST): Promise<Answer> =>
    ask(server, "PUT", "/v2/r/manifests/v1", { body, headers: { "content-type": type } });

  it("names a subject that is not there, until it is", async () => {
    const image = manifestOf([]);
    const present = { ...subject, digest: sha256(image) };
    const before = await put(manifestOf([], { subject: present }));
    assert.equal(before.headers["Warning"], `299 - "Its subject ${present.digest} is not here."`);
    await put(image);
    assert.equal((await put(image)).headers["Warning"], undefined);
    const after = await put(manifestOf([], { subject: present }));
    assert.equal(after.headers["Warning"], undefined);
    assert.equal(after.headers["OCI-Subject"], present.digest);
  });

  it("counts layers that are left to their own URLs", async () => {
    const mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    const layers = [{ mediaType, digest: absent, size: 5, urls: ["https://example.com/"] }];
    const answer = await put(manifestOf([], { layers }));
    assert.equal(answer.status, 201);
    assert.match(answer.headers["Warning"] ?? "", /^299 - "1 non-distributable layers .*"$/);
  });

  it("counts what a sparse image and a sparse index lack, and serves them", async () => {
    const image = manifestOf([absent]);
    const index = Buffer.from(
      JSON.stringify({ schemaVersion: 2, manifests: [subject, { ...subject, digest: absent }] }),
    );
    for (const [body, type, number] of [
      [image, MEDIA_TYPE_OCI_MANIFEST, 1],
      [index, MEDIA_TYPE_OCI_INDEX, 2],
    ] as const) {
      const answer = await put(body, type);
      assert.equal(answer.status, 201);
      assert.match(answer.headers["Warning"] ?? "", new RegExp(`^299 - "${number} of the blobs`));
      assert.deepEqual((await ask(server, "GET", "/v2/r/manifests/v1")).bytes, body);
    }
  });

  it("is refused where sparse manifests are not allowed", async () => {
    await using other = await freshFolder();
    await using strict = await openRegistryServer(other.path);
    await putBlob(strict, "r", Buffer.from("{}"));
    const answer = await ask(strict, "PUT", "/v2/r/manifests/v1", { body: manifestOf([absent]) });
    assert.equal(answer.status, 400);
    assert.deepEqual(codes(answer), ["MANIFEST_BLOB_UNKNOWN"]);
  });
});
