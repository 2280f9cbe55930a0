import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import type { Session } from "../session.ts";
import { testConfig } from "../testing/config.ts";
import { ask, digestOf, freshFolder } from "../testing/http.ts";
import { runProgram, startProgram } from "../testing/program.ts";
import { startService } from "../wire.ts";
import { backup, fsck, gc, restore } from "./keeping.ts";

const session = (root: string): Session => ({
  flags: {},
  surroundings: { readFile: () => undefined },
  signal: new AbortController().signal,
  config: () => testConfig(root),
});

async function pushBlob(url: string, bytes: Buffer): Promise<string> {
  const digest = digestOf(bytes);
  const path = `/v2/r/blobs/uploads/?digest=${digest}&token=SECRET`;
  const headers = { authorization: "Basic U0VDUkVU" };
  assert.equal((await ask(url, "POST", path, { body: bytes, headers })).status, 201);
  return digest;
}

describe("fsck, backup, restore, gc", () => {
  it("look after a root that is served, and a restored one", async () => {
    await using folder = await freshFolder();
    const [root, saved, restored] = ["root", "saved", "restored"].map((name) =>
      join(folder.path, name),
    ) as [string, string, string];
    let digest = "";
    {
      await using service = await startService(testConfig(root));
      digest = await pushBlob(service.url, randomBytes(1000));
      const online = await fsck(session(root), false);
      assert.equal(online.isFailed, false);
      assert.match(
        online.text,
        /checked online: 1 repositories, .* 1 blobs of 1000 bytes\n0 faults/,
      );
      await assert.rejects(
        gc(session(root)),
        (error) => error instanceof AppError && /another process has it open/.test(error.message),
      );
      assert.equal((await backup(session(root), saved)).isFailed, false);
    }
    const collected = await gc(session(root));
    assert.deepEqual(collected.json, { blobs: 0, freedBytes: 0, manifests: 0, referrers: 0 });
    assert.equal((await restore(session(restored), saved)).isFailed, false);
    assert.deepEqual(await readdir(join(restored, "blobs/sha256")), [digest.slice(7)]);
    await truncate(join(restored, "blobs/sha256", digest.slice(7)), 5);
    writeFileSync(join(restored, "blobs/sha256/rubbish"), "");
    const faulty = await fsck(session(restored), true);
    assert.equal(faulty.isFailed, true);
    assert.match(faulty.text, /^fault: sha256:\w+: its file has 5 bytes, want 1000$/m);
    assert.match(faulty.text, /^repaired: blobs\/sha256\/rubbish: /m);
    assert.match(faulty.text, /^1 faults, 0 leftovers, 0 notes, 1 repaired$/m);
    const { code, stdout } = await runProgram(["fsck", "--root", restored, "--json"]);
    assert.deepEqual([code, (JSON.parse(stdout) as { faults: number }).faults], [1, 1]);
  });

  it("a program logs each request without secrets, and collects garbage at SIGUSR2", async () => {
    await using folder = await freshFolder();
    await using program = await startProgram(folder.path, ["--log-level", "info"]);
    const digest = await pushBlob(program.url, randomBytes(1000));
    await using reading = await startService(testConfig(folder.path, 'mode = "read-only"'));
    assert.equal((await ask(reading.url, "GET", `/v2/r/blobs/${digest}`)).bytes.length, 1000);
    const refused = await ask(reading.url, "POST", "/v2/r/blobs/uploads/");
    assert.equal(refused.status, 405);
    assert.match(refused.bytes.toString(), /"code":"UNSUPPORTED".*read-only/);
    assert.equal((await ask(reading.url, "GET", "/readyz")).status, 200);
    process.kill(program.pid, "SIGUSR2");
    for (let tries = 0; !program.log().includes("garbage collected"); tries += 1) {
      assert.ok(tries < 500, program.log());
      await ask(program.url, "GET", "/healthz");
    }
    assert.equal(await program.end("SIGTERM"), 0);
    const [line = {}] = program
      .log()
      .split("\n")
      .filter((text) => text.includes('"msg":"request"'))
      .map((text) => JSON.parse(text) as Record<string, unknown>);
    const { method, route, repository, status, receivedBytes, sentBytes, ms, reqId } = line;
    assert.deepEqual([method, route, repository, status], ["POST", "uploads", "r", 201]);
    assert.ok(Number(receivedBytes) > 1000 && Number(sentBytes) > 100 && Number(ms) > 0);
    assert.match(String(reqId), /^[0-9a-f-]{36}$/);
    assert.ok(!/SECRET|U0VDUkVU/.test(program.log()));
  });
});
