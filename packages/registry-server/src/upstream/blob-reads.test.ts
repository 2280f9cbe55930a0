import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { type Fault, startFaultProxy } from "@soci-ts/testkit";
import type { RegistryResponse } from "../http.ts";
import { eventually, startCompanion, type TestCompanion } from "../testing/companions.ts";
import { ask, codes, putBlob } from "../testing/harness.ts";
import { startUpstream, type UpstreamServer } from "../testing/upstream-server.ts";

const REPOSITORY = "team/app";
const pathOf = (digest: string): string => `/v2/${REPOSITORY}/blobs/${digest}`;
const isBlob = (path: string): boolean => path.includes("/blobs/");

async function startFaulty(rule: (ordinal: number) => Fault | undefined) {
  const upstream = await startUpstream();
  const proxy = await startFaultProxy(upstream.host);
  let blobs = 0;
  proxy.rule = ({ path }) => {
    if (!isBlob(path)) return undefined;
    blobs += 1;
    return rule(blobs - 1);
  };
  const test = await startCompanion([{ url: new URL(`http://${proxy.host}`) }]);
  return {
    ...{ upstream, proxy, test },
    async [Symbol.asyncDispose]() {
      await test[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

function handle(test: TestCompanion, url: string, headers = {}): Promise<RegistryResponse> {
  const body = (async function* () {})();
  return test.companion.handle({ method: "GET", url, headers, body });
}

/** True once the blob comes without the upstream. */
async function cached(upstream: UpstreamServer, test: TestCompanion, path: string) {
  const before = upstream.requests.length;
  const answer = await ask(test.companion, "GET", path);
  return upstream.requests.length === before && answer.status === 200;
}

describe("a blob through the companion", () => {
  it("comes with the headers of a registry, whole, in part, and the second time from the cache", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = randomBytes(300_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    const first = await ask(test.companion, "GET", path);
    assert.deepEqual(first.bytes, bytes);
    await eventually(() => cached(upstream, test, path));
    const second = await ask(test.companion, "GET", path);
    assert.deepEqual(second.bytes, bytes);
    assert.deepEqual(second.headers, first.headers);
    const part = await ask(test.companion, "GET", path, { headers: { range: "bytes=-1000" } });
    assert.equal(part.status, 206);
    assert.equal(part.headers["Content-Range"], "bytes 299000-299999/300000");
    assert.deepEqual(part.bytes, bytes.subarray(299_000));
    const head = await ask(test.companion, "HEAD", path);
    assert.equal(head.headers["Content-Length"], "300000");
    assert.equal(head.bytes.length, 0);
    const etag = first.headers["ETag"]!;
    const same = await ask(test.companion, "GET", path, { headers: { "if-none-match": etag } });
    assert.equal(same.status, 304);
    const beyond = await ask(test.companion, "GET", path, { headers: { range: "bytes=300000-" } });
    assert.equal(beyond.status, 416);
    assert.equal(upstream.blobBytes, bytes.length);
  });

  it("moves once from the upstream for 20 clients at once, whole and in ranges", async () => {
    await using upstream = await startUpstream();
    await using proxy = await startFaultProxy(upstream.host);
    await using test = await startCompanion([{ url: new URL(`http://${proxy.host}`) }]);
    const bytes = randomBytes(900_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, client) => {
        const headers = client % 2 === 0 ? {} : { range: `bytes=${client * 1000}-` };
        return ask(test.companion, "GET", path, { headers });
      }),
    );
    for (const [client, answer] of answers.entries()) {
      const start = client % 2 === 0 ? 0 : client * 1000;
      assert.deepEqual(answer.bytes, bytes.subarray(start));
    }
    assert.equal(proxy.requests.length, 1);
    assert.equal(proxy.bytesSent, bytes.length);
  });

  it("streams as bytes arrive, to those who come later too, and from a range far ahead", async () => {
    const bytes = randomBytes(4_000_000);
    await using upstream = await startUpstream();
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    let goOn = (): void => {};
    upstream.intercept = (request, response) => {
      if (!isBlob(request.url ?? "") || request.headers.range !== undefined) return false;
      response.writeHead(200, { "content-length": bytes.length }).write(bytes.subarray(0, 100_000));
      goOn = () => response.end(bytes.subarray(100_000));
      return true;
    };
    await using test = await startCompanion([upstream]);
    const responses = [await handle(test, path), await handle(test, path)];
    for (const { body } of responses) {
      assert.ok(body?.kind === "stream");
      const [first] = await firstBytes(body.pieces, 100_000);
      assert.deepEqual(first, bytes.subarray(0, 100_000));
      body.cancel();
    }
    const headers = { range: "bytes=3000000-3999999" };
    const ahead = await ask(test.companion, "GET", path, { headers });
    assert.deepEqual(ahead.bytes, bytes.subarray(3_000_000));
    const again = await ask(test.companion, "GET", path, { headers });
    assert.deepEqual(again.bytes, ahead.bytes);
    assert.equal(upstream.blobBytes, 1_000_000);
    // Nobody waits for it any more, and it goes on.
    goOn();
    await eventually(() => cached(upstream, test, path));
    assert.deepEqual((await ask(test.companion, "GET", path)).bytes, bytes);
  });

  it("is not fetched whole before small ranges that clients wait for", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = randomBytes(3_000_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    const asked: (string | undefined)[] = [];
    upstream.intercept = ({ url, headers }) => {
      if (isBlob(url ?? "")) asked.push(headers.range);
      return false;
    };
    const beyond = { range: "bytes=3000000-3000009" };
    const answers = await Promise.all([
      ask(test.companion, "GET", path, { headers: beyond }),
      ask(test.companion, "GET", path, { headers: { range: "bytes=5-9" } }),
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [416, 206],
    );
    asked.length = 0;
    for (const start of [2_500_000, 1_500_000]) {
      const range = `bytes=${start}-${start + 99}`;
      const part = await ask(test.companion, "GET", path, { headers: { range } });
      assert.deepEqual(part.bytes, Buffer.from(bytes.subarray(start, start + 100)));
    }
    assert.deepEqual(asked, ["bytes=2500000-2500099", "bytes=1500000-1500099"]);
    await eventually(() => cached(upstream, test, path));
    assert.deepEqual((await ask(test.companion, "GET", path)).bytes, Buffer.from(bytes));
  });

  it("is read in many ranges at once, also ones that overlap", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = randomBytes(4_000_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    const ranges = Array.from({ length: 40 }, (_, at) => {
      const start = 3_900_000 - ((at * 37) % 40) * 60_000;
      return { start, end: Math.min(bytes.length, start + 150_000) };
    });
    const answers = await Promise.all(
      ranges.map(({ start, end }) =>
        ask(test.companion, "GET", path, { headers: { range: `bytes=${start}-${end - 1}` } }),
      ),
    );
    for (const [at, { start, end }] of ranges.entries()) {
      assert.ok(answers[at]?.bytes.equals(bytes.subarray(start, end)), `${start}-${end}`);
    }
    // The whole may have begun meanwhile, but no range was fetched twice.
    assert.ok(upstream.blobBytes <= 2 * bytes.length);
  });

  it("is waited for where a range of it cannot be had", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = randomBytes(3_000_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    upstream.intercept = ({ headers }, response) => {
      if (headers.range === undefined || headers.range === "bytes=5-9") return false;
      response.writeHead(503).end();
      return true;
    };
    for (const start of [5, 2_900_000]) {
      const headers = { range: `bytes=${start}-${start + 4}` };
      const part = await ask(test.companion, "GET", path, { headers });
      assert.ok(part.bytes.equals(bytes.subarray(start, start + 5)));
    }
  });

  it("has ranges where the upstream has none", async () => {
    await using upstream = await startUpstream({ ranges: false });
    await using test = await startCompanion([upstream]);
    const bytes = randomBytes(3_000_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    const headers = { range: "bytes=2900000-2900099" };
    const part = await ask(test.companion, "GET", path, { headers });
    assert.equal(part.status, 206);
    assert.deepEqual(part.bytes, bytes.subarray(2_900_000, 2_900_100));
    await eventually(() => cached(upstream, test, path));
    assert.equal(upstream.blobBytes, bytes.length);
    assert.deepEqual((await ask(test.companion, "GET", path, { headers })).bytes, part.bytes);
  });

  it("is taken up again where the upstream breaks off, with and without ranges", async () => {
    for (const ranges of [true, false]) {
      await using faulty = await startFaulty((ordinal) =>
        ordinal < 2 ? { kind: "cut", afterBytes: 200_000 * (ordinal + 1) } : undefined,
      );
      faulty.upstream.ranges = ranges;
      const bytes = randomBytes(700_000);
      const path = pathOf(await putBlob(faulty.upstream.registry, REPOSITORY, bytes));
      assert.deepEqual((await ask(faulty.test.companion, "GET", path)).bytes, bytes);
      // The last bytes before the cut may be lost with the connection.
      assert.match(faulty.proxy.requests[1]?.range ?? "", /^bytes=\d{5,6}-699999$/);
    }
  });

  it("is cut off before its end when its digest is wrong, and is not kept", async () => {
    await using faulty = await startFaulty((ordinal) =>
      ordinal === 0 ? { kind: "flip", atByte: 1000 } : undefined,
    );
    const bytes = randomBytes(400_000);
    const path = pathOf(await putBlob(faulty.upstream.registry, REPOSITORY, bytes));
    const { body, headers } = await handle(faulty.test, path);
    assert.equal(headers["Content-Length"], "400000");
    assert.ok(body?.kind === "stream");
    let received = 0;
    await assert.rejects(async () => {
      for await (const piece of body.pieces) received += piece.length;
    }, /digest/);
    assert.ok(received < bytes.length);
    body.cancel();
    assert.deepEqual((await ask(faulty.test.companion, "GET", path)).bytes, bytes);
  });

  it("is refused as the upstream refuses it, once for clients that wait together", async () => {
    for (const status of [404, 429, 500]) {
      await using faulty = await startFaulty(() => ({
        kind: "status",
        status,
        headers: { "retry-after": "7", "content-type": "application/json" },
        body: '{"errors":[{"code":"DENIED","message":"so"}]}',
      }));
      const path = pathOf(`sha256:${"a".repeat(64)}`);
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => ask(faulty.test.companion, "GET", path)),
      );
      for (const answer of answers) {
        assert.equal(answer.status, status);
        assert.equal(answer.headers["Retry-After"], "7");
        assert.deepEqual(codes(answer), ["DENIED"]);
      }
      assert.equal(faulty.proxy.requests.length, 1);
    }
  });

  it("comes from the cache when the upstream is down; what is not there is a 503 at once", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = randomBytes(50_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    const other = pathOf(await putBlob(upstream.registry, REPOSITORY, Buffer.from("other")));
    await ask(test.companion, "GET", path);
    await eventually(() => cached(upstream, test, path));
    await upstream.stop();
    assert.deepEqual((await ask(test.companion, "GET", path)).bytes, bytes);
    const missing = await ask(test.companion, "GET", other);
    assert.equal(missing.status, 503);
    assert.equal(missing.headers["Retry-After"], "5");
    await upstream.restart();
    assert.equal((await ask(test.companion, "GET", other)).bytes.toString(), "other");
  });

  it("passes by the cache where it is too large for it, ranges included", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream], { cacheBytes: 1000 });
    const bytes = randomBytes(50_000);
    const path = pathOf(await putBlob(upstream.registry, REPOSITORY, bytes));
    assert.deepEqual((await ask(test.companion, "GET", path)).bytes, bytes);
    const headers = { range: "bytes=10-19" };
    const part = await ask(test.companion, "GET", path, { headers });
    assert.equal(part.status, 206);
    assert.deepEqual(part.bytes, bytes.subarray(10, 20));
    assert.equal(await cached(upstream, test, path), false);
  });

  it("gives what it has cached through one repository not through another that lacks it", async () => {
    await using upstream = await startUpstream();
    await using test = await startCompanion([upstream]);
    const bytes = Buffer.from("of one repository");
    const digest = await putBlob(upstream.registry, REPOSITORY, bytes);
    await ask(test.companion, "GET", pathOf(digest));
    await eventually(() => cached(upstream, test, pathOf(digest)));
    const elsewhere = `/v2/team/other/blobs/${digest}`;
    assert.equal((await ask(test.companion, "GET", elsewhere)).status, 404);
    await putBlob(upstream.registry, "team/other", bytes);
    assert.deepEqual((await ask(test.companion, "GET", elsewhere)).bytes, bytes);
    assert.equal(upstream.blobBytes, bytes.length);
  });
});

/** The first `length` bytes of pieces that may then come to a stop. */
async function firstBytes(pieces: AsyncIterable<Uint8Array>, length: number): Promise<[Buffer]> {
  const found: Uint8Array[] = [];
  let received = 0;
  for await (const piece of pieces) {
    found.push(piece);
    received += piece.length;
    if (received >= length) break;
  }
  return [Buffer.concat(found)];
}
