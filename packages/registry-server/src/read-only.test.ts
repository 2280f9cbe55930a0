import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { openRegistryServer } from "./registry-server.ts";
import { ask, codes, freshFolder, manifestOf, putBlob, putManifest } from "./testing/harness.ts";

describe("openRegistryServer() with isReadOnly", () => {
  it("answers pulls, refuses everything else, beside the process that writes", async () => {
    await using folder = await freshFolder();
    await using writer = await openRegistryServer(folder.path);
    const blob = await putBlob(writer, "a", Buffer.from("bytes"));
    const manifest = await putManifest(writer, "a", manifestOf([blob]), "v1");
    const { headers } = await ask(writer, "POST", "/v2/a/blobs/uploads/");
    await using reader = await openRegistryServer(folder.path, { isReadOnly: true });
    for (const path of [
      "/v2/",
      `/v2/a/blobs/${blob}`,
      "/v2/a/manifests/v1",
      "/v2/a/tags/list",
      `/v2/a/referrers/${manifest}`,
    ]) {
      assert.equal((await ask(reader, "GET", path)).status, 200, path);
      assert.equal((await ask(reader, "HEAD", path)).status, 200, path);
    }
    const refused: [method: string, path: string][] = [
      ["POST", "/v2/a/blobs/uploads/"],
      ["POST", `/v2/b/blobs/uploads/?mount=${blob}&from=a`],
      ["PATCH", headers["Location"]!],
      ["PUT", headers["Location"]!],
      ["GET", headers["Location"]!],
      ["PUT", "/v2/a/manifests/v2"],
      ["DELETE", "/v2/a/manifests/v1"],
      ["DELETE", `/v2/a/blobs/${blob}`],
    ];
    for (const [method, path] of refused) {
      const answer = await ask(reader, method, path, { body: Buffer.from("{}") });
      assert.equal(answer.status, 405, `${method} ${path}`);
      assert.deepEqual(codes(answer), ["UNSUPPORTED"]);
      assert.match(answer.bytes.toString(), /read-only/);
      assert.equal(answer.headers["Allow"], "GET, HEAD");
    }
    const late = await putBlob(writer, "a", Buffer.from("later"));
    assert.equal((await ask(reader, "GET", `/v2/a/blobs/${late}`)).status, 200);
    await assert.rejects(
      reader.collectGarbage(),
      (error) => error instanceof AppError && error.code === "failed_precondition",
    );
  });

  it("wants a registry to be there", async () => {
    await using folder = await freshFolder();
    await assert.rejects(
      openRegistryServer(folder.path, { isReadOnly: true }),
      (error) => error instanceof AppError && error.code === "not_found",
    );
  });
});
