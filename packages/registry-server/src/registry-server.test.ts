import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import { openRegistryServer } from "./registry-server.ts";
import { errorResponse, SpecError } from "./spec-error.ts";
import {
  ask,
  codes,
  filesIn,
  freshFolder,
  manifestOf,
  putBlob,
  putManifest,
} from "./testing/harness.ts";

describe("RegistryServer", () => {
  it("answers the base path and refuses what is beside it", async () => {
    await using folder = await freshFolder();
    await using server = await openRegistryServer(folder.path);
    for (const url of ["/v2", "/v2/", "/v2/?ns=docker.io"]) {
      const answer = await ask(server, "GET", url);
      assert.equal(answer.status, 200);
      assert.equal(answer.bytes.toString(), "{}");
    }
    assert.equal((await ask(server, "DELETE", "/v2/")).status, 405);
    assert.equal((await ask(server, "GET", "/v2/_catalog")).status, 404);
    assert.equal((await ask(server, "constructor", "/v2/a/tags/list")).status, 405);
    assert.deepEqual(codes(await ask(server, "GET", "/v2/../etc/passwd/tags/list")), [
      "NAME_INVALID",
    ]);
  });

  it("keeps everything over a restart", async () => {
    await using folder = await freshFolder();
    const layer = randomBytes(100);
    const first = await openRegistryServer(folder.path);
    const digest = await putBlob(first, "r", layer);
    const manifest = manifestOf([digest]);
    await putManifest(first, "r", manifest, "v1");
    await first.close();
    await first.close();
    await using second = await openRegistryServer(folder.path);
    assert.deepEqual((await ask(second, "GET", "/v2/r/manifests/v1")).bytes, manifest);
    assert.deepEqual((await ask(second, "GET", `/v2/r/blobs/${digest}`)).bytes, layer);
  });

  it("removes files that never became blobs, and nothing else", async () => {
    await using folder = await freshFolder();
    const first = await openRegistryServer(folder.path);
    const digest = await putBlob(first, "r", randomBytes(100));
    await first.close();
    const orphan = sha256(Buffer.from("moved, but never recorded")).slice(7);
    await writeFile(join(folder.path, "blobs/sha256", orphan), "moved, but never recorded");
    await writeFile(join(folder.path, "blobs/sha512", "rubbish"), "?");
    await using second = await openRegistryServer(folder.path);
    assert.deepEqual(await filesIn(folder.path), [`blobs/${digest.replace(":", "/")}`]);
    assert.equal((await ask(second, "GET", `/v2/r/blobs/sha256:${orphan}`)).status, 404);
  });

  it("reports our own failures as such, without their message", async () => {
    await using folder = await freshFolder();
    const lines: string[] = [];
    const logger = {
      debug: () => {},
      info: () => {},
      warn: () => {},
      error: (message: string) => lines.push(message),
      child: () => logger,
    };
    await using server = await openRegistryServer(folder.path, { logger });
    const digest = await putBlob(server, "r", randomBytes(100));
    await ask(server, "DELETE", `/v2/r/blobs/${digest}`);
    const content = randomBytes(10);
    await mkdir(join(folder.path, "blobs/sha256", sha256(content).slice(7), "in-the-way"), {
      recursive: true,
    });
    const answer = await ask(server, "POST", `/v2/r/blobs/uploads/?digest=${sha256(content)}`, {
      body: content,
    });
    assert.equal(answer.status, 500);
    assert.deepEqual(codes(answer), ["UNKNOWN"]);
    assert.ok(!answer.bytes.toString().includes(folder.path));
    assert.deepEqual(lines, ["request failed"]);
    assert.equal((await ask(server, "HEAD", `/v2/r/blobs/${sha256(content)}`)).status, 404);
  });
});

describe("errorResponse()", () => {
  const sqliteFailure = (code: string, errcode: number): Error =>
    Object.assign(new Error("full"), { code, errcode });
  const rows: [error: AppError, status: number][] = [
    [AppError.from(Object.assign(new Error("full"), { code: "ENOSPC" })), 507],
    [AppError.from(Object.assign(new Error("full"), { code: "EDQUOT" })), 507],
    [AppError.from(Object.assign(new Error("full"), { code: "EMFILE" })), 503],
    [new AppError("resource_exhausted", "x", { cause: sqliteFailure("SQLITE_FULL", 13) }), 507],
    [new AppError("data_loss", "x", { cause: sqliteFailure("ERR_SQLITE_ERROR", 4874) }), 507],
    [new AppError("resource_exhausted", "a limit"), 503],
    [new AppError("unavailable", "locked"), 503],
    [new AppError("internal", "bug"), 500],
    [new AppError("data_loss", "damaged"), 500],
    [new SpecError("NAME_INVALID", "x"), 400],
    [new SpecError("UNSUPPORTED", "x"), 405],
    [new SpecError("BLOB_UPLOAD_INVALID", "x", { status: 416 }), 416],
  ];
  for (const [error, status] of rows) {
    it(`gives ${status} for ${error.name} ${error.code}`, () => {
      const response = errorResponse(error);
      assert.equal(response.status, status);
      assert.equal(response.headers["Content-Type"], "application/json");
    });
  }
});
