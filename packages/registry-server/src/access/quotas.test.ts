import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { deferred, sha256 } from "@soci-ts/core";
import { openGuarded } from "../testing/guarded.ts";
import {
  type Answer,
  type Ask,
  ask,
  codes,
  manifestOf,
  pieces,
  putBlob,
} from "../testing/harness.ts";
import { Quotas } from "./quotas.ts";

const QUOTAS = [{ repositories: ["small/*"], maxBytes: 10_000 }];
const BYTES = randomBytes(6_000);

async function open() {
  const guarded = await openGuarded({ quotas: QUOTAS });
  const { handler, registry, folder } = guarded;
  const send = (method: string, url: string, options?: Ask): Promise<Answer> =>
    ask(handler, method, url, options);
  return {
    registry,
    send,
    begin: async (repository: string) =>
      (await send("POST", `/v2/${repository}/blobs/uploads/`)).headers["Location"]!,
    used: (repository: string) => registry.facts.usedBytes(repository),
    uploads: () => readdirSync(join(folder, "uploads")).length,
    [Symbol.asyncDispose]: () => guarded[Symbol.asyncDispose](),
  };
}

function assertFull(answer: Answer): void {
  assert.equal(answer.status, 413);
  assert.deepEqual(codes(answer), ["DENIED"]);
  assert.match(answer.bytes.toString(), /quota of 10000 bytes/);
}

describe("Quotas", () => {
  it("count blobs, manifests and open uploads of each repository, and refuse what does not fit", async () => {
    await using small = await open();
    const url = (bytes: Uint8Array) => `/v2/small/a/blobs/uploads/?digest=${sha256(bytes)}`;
    const put = (bytes: Uint8Array) => small.send("POST", url(bytes), { body: bytes });
    assert.equal((await put(BYTES)).status, 201);
    const more = randomBytes(5_000);
    assertFull(await put(more));
    assertFull(await small.send("POST", url(more), { body: pieces(more) }));
    assert.equal(small.uploads(), 0);
    assert.equal(await small.used("small/a"), 6_000);
    assert.equal((await put(Buffer.from("{}"))).status, 201);
    const manifest = manifestOf([sha256(BYTES)], { annotations: { a: "x".repeat(5_000) } });
    const headers = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
    assertFull(await small.send("PUT", "/v2/small/a/manifests/v1", { body: manifest, headers }));
    const other = `/v2/small/b/blobs/uploads/?digest=${sha256(more)}`;
    assert.equal((await small.send("POST", other, { body: more })).status, 201);
    const free = randomBytes(50_000);
    const elsewhere = `/v2/large/blobs/uploads/?digest=${sha256(free)}`;
    assert.equal((await small.send("POST", elsewhere, { body: free })).status, 201);
  });

  it("drop an upload that does not fit, also when it is found out on the way", async () => {
    await using small = await open();
    for (const body of [randomBytes(5_000), pieces(randomBytes(5_000))]) {
      const upload = await small.begin("small/a");
      assert.equal((await small.send("PATCH", upload, { body: BYTES })).status, 202);
      assert.equal(await small.used("small/a"), 6_000);
      assertFull(await small.send("PATCH", upload, { body }));
      assert.equal(await small.used("small/a"), 0);
      assert.equal((await small.send("GET", upload)).status, 404);
    }
    const upload = await small.begin("small/a");
    await small.send("PATCH", upload, { body: BYTES });
    const last = { body: pieces(BYTES) };
    assertFull(await small.send("PUT", `${upload}?digest=${sha256(BYTES)}`, last));
    assert.equal(small.uploads(), 0);
  });

  it("hold for uploads that run at the same time", async () => {
    await using small = await open();
    const uploads = await Promise.all([1, 2, 3, 4].map(() => small.begin("small/a")));
    const single = randomBytes(4_000);
    const answers = await Promise.all([
      ...uploads.map((upload) => small.send("PATCH", upload, { body: pieces(randomBytes(4_000)) })),
      ...[1, 2].map(() =>
        small.send("POST", `/v2/small/a/blobs/uploads/?digest=${sha256(single)}`, {
          body: pieces(single),
        }),
      ),
    ]);
    assert.ok(answers.some(({ status }) => status === 413));
    assert.ok((await small.used("small/a")) <= 10_000);
  });

  it("hold for an upload that begins while one in a single request is on its way", async () => {
    await using small = await open();
    const arrived = deferred<void>();
    const gate = deferred<void>();
    const slow = async function* () {
      yield BYTES.subarray(0, 5_000);
      arrived.resolve();
      await gate.promise;
      yield BYTES.subarray(5_000);
    };
    const url = `/v2/small/a/blobs/uploads/?digest=${sha256(BYTES)}`;
    const running = small.send("POST", url, { body: slow() });
    await arrived.promise;
    const upload = await small.begin("small/a");
    assertFull(await small.send("PATCH", upload, { body: randomBytes(5_001) }));
    gate.resolve();
    assert.equal((await running).status, 201);
    const another = await small.begin("small/a");
    assert.equal((await small.send("PATCH", another, { body: randomBytes(4_000) })).status, 202);
  });

  it("count a mounted blob", async () => {
    await using small = await open();
    const big = randomBytes(9_000);
    await putBlob(small.registry, "large", big);
    const url = `/v2/small/a/blobs/uploads/?mount=${sha256(big)}&from=large`;
    assert.equal((await small.send("POST", url)).status, 201);
    await putBlob(small.registry, "large", BYTES);
    assertFull(await small.send("POST", url.replace(sha256(big), sha256(BYTES))));
    assert.equal(await small.used("small/a"), 9_000);
  });

  it("measure once in a while, and for each request only where little is left", async () => {
    const quotas = new Quotas([{ repositories: ["*"], maxBytes: 1_000 }]);
    let measured = 0;
    let stored = 0;
    const measure = async (): Promise<number> => {
      measured += 1;
      return stored;
    };
    const push = async (sizeBytes: number): Promise<void> => {
      const intent = { repository: "a", sizeBytes, isHidden: true };
      using allowance = await quotas.allowance(intent, measure);
      allowance?.take(sizeBytes);
      stored += sizeBytes;
    };
    for (let at = 0; at < 8; at += 1) await push(100);
    assert.equal(measured, 1);
    await push(100);
    await push(100);
    assert.equal(measured, 3);
    await assert.rejects(push(1), { status: 413 });
    stored = 0; // all was deleted
    await push(100);
    assert.equal(measured, 5);
  });
});
