import assert from "node:assert/strict";
import { test } from "node:test";
import { TransportError } from "./errors.ts";
import { collect, patternBytes, repositoryOn, testClient } from "./testing/clients.ts";
import { sendBytes, startFakeRegistry } from "./testing/fake-registry.ts";
import { answer, type SeenRequest, startServer } from "./testing/http-server.ts";
import { recordingLogger } from "./testing/recorder.ts";

const SIZE = 300_000;
const BYTES = patternBytes(SIZE);

const ranges = (requests: readonly SeenRequest[]): (string | undefined)[] =>
  requests.map(({ headers }) => headers.range);

test("readAt() and stream() give the bytes that are asked for", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  assert.deepEqual(await blob.readAt(1000, 5000).then(Buffer.from), BYTES.subarray(1000, 6000));
  assert.deepEqual(await collect(blob.stream(SIZE - 7, SIZE)), BYTES.subarray(SIZE - 7));
  assert.deepEqual(await collect(blob.stream(0, SIZE)), BYTES);
  assert.equal((await blob.readAt(SIZE, 0)).length, 0);
  assert.deepEqual(ranges(registry.requests), [
    "bytes=1000-5999",
    `bytes=${SIZE - 7}-${SIZE - 1}`,
    undefined,
  ]);
});

test("readAt() refuses ranges outside the blob, before asking", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  for (const [offset, length] of [
    [-1, 1],
    [SIZE, 1],
    [0, SIZE + 1],
    [5, -1],
    [0.5, 1],
  ] as const) {
    await assert.rejects(blob.readAt(offset, length), { code: "out_of_range" });
  }
  assert.equal(registry.requests.length, 0);
});

test("a server that ignores ranges is answered from its stream, correctly, and told of once", async () => {
  await using registry = await startFakeRegistry({ ranges: false });
  const logger = recordingLogger();
  await using client = testClient({ logger });
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  for (const [start, end] of [
    [0, 10],
    [100_000, 200_000],
    [SIZE - 1, SIZE],
    [0, SIZE],
  ] as const) {
    assert.deepEqual(
      await collect(blob.stream(start, end)),
      BYTES.subarray(start, end),
      `${start}-${end}`,
    );
  }
  assert.equal(registry.requests.length, 4);
  assert.equal(logger.lines.filter((line) => line.includes("ignores range")).length, 1);
});

test("a body that breaks off is resumed where it stopped", async () => {
  await using registry = await startFakeRegistry();
  let cuts = 0;
  registry.intercept = (request, response) => {
    const start = Number(/bytes=(\d+)/.exec(request.headers.range ?? "")?.[1] ?? 0);
    cuts += 1;
    if (cuts > 3) return false;
    response.writeHead(206, {
      "content-range": `bytes ${start}-${SIZE - 1}/${SIZE}`,
      "content-length": SIZE - start,
    });
    response.write(BYTES.subarray(start, start + 70_000), () => response.destroy());
    return true;
  };
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  assert.deepEqual(await collect(blob.stream(10, SIZE)), BYTES.subarray(10));
  const starts = ranges(registry.requests).map((range) =>
    Number(/bytes=(\d+)/.exec(range ?? "")?.[1]),
  );
  assert.equal(starts[0], 10);
  assert.ok(
    starts.every((start, k) => k === 0 || start > (starts[k - 1] as number)),
    String(starts),
  );
});

test("a body that breaks off without end ends in an error, in bounded requests", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    response.writeHead(200, { "content-length": SIZE });
    response.write(BYTES.subarray(0, 10), () => response.destroy());
    return true;
  };
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  await assert.rejects(collect(blob.stream(0, SIZE)), { code: "unavailable" });
  assert.equal(registry.requests.length, 4);
});

const WRONG: readonly [
  name: string,
  status: number,
  headers: Record<string, string>,
  body: Buffer,
][] = [
  ["no Content-Range", 206, {}, BYTES.subarray(10, 20)],
  ["another start", 206, { "content-range": `bytes 11-20/${SIZE}` }, BYTES.subarray(10, 20)],
  ["another end", 206, { "content-range": `bytes 10-18/${SIZE}` }, BYTES.subarray(10, 19)],
  ["another size", 206, { "content-range": "bytes 10-19/999" }, BYTES.subarray(10, 20)],
  ["rubbish", 206, { "content-range": "bytes ten-nineteen" }, BYTES.subarray(10, 20)],
  [
    "a body that is too short",
    206,
    { "content-range": `bytes 10-19/${SIZE}`, "content-length": "9" },
    BYTES.subarray(10, 19),
  ],
  [
    "a body that is too long",
    206,
    { "content-range": `bytes 10-19/${SIZE}`, "transfer-encoding": "chunked" },
    BYTES.subarray(10, 30),
  ],
  [
    "a chunked body that ends early",
    206,
    { "content-range": `bytes 10-19/${SIZE}`, "transfer-encoding": "chunked" },
    BYTES.subarray(10, 15),
  ],
  ["a whole of another size", 200, { "content-length": "50" }, BYTES.subarray(0, 50)],
  [
    "an encoding",
    206,
    { "content-range": `bytes 10-19/${SIZE}`, "content-encoding": "gzip" },
    BYTES.subarray(10, 20),
  ],
];

for (const [name, status, headers, body] of WRONG) {
  test(`an answer with ${name} is an error and tried again`, async () => {
    await using registry = await startFakeRegistry();
    let isWrong = true;
    registry.intercept = (_request, response) => {
      if (isWrong) answer(response, status, headers, body);
      return isWrong;
    };
    await using client = testClient();
    const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
    await assert.rejects(
      blob.readAt(10, 10),
      (error) => error instanceof TransportError && error.code === "data_loss",
    );
    assert.equal(registry.requests.length, 4);
    const read = blob.readAt(10, 10);
    isWrong = false;
    assert.deepEqual(Buffer.from(await read), BYTES.subarray(10, 20));
  });
}

test("a redirect is followed without Authorization, its target remembered, and asked for anew when it is refused", async () => {
  await using registry = await startFakeRegistry();
  let signature = 1;
  await using store = await startServer((request, response) => {
    if (!request.path.includes(`sig=${signature}`)) return answer(response, 403, {}, "expired");
    sendBytes(request, response, BYTES);
  });
  registry.intercept = (request, response) => {
    if (request.headers.authorization === undefined) {
      answer(response, 401, { "www-authenticate": 'Basic realm="x"' });
    } else answer(response, 307, { location: `${store.url}/blob?sig=${signature}` });
    return true;
  };
  const credentials = {
    find: async () => ({ kind: "basic", username: "me", password: "s3cret" }) as const,
  };
  await using client = testClient({ credentials });
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  for (const at of [0, 100, 200])
    assert.deepEqual(Buffer.from(await blob.readAt(at, 50)), BYTES.subarray(at, at + 50));
  assert.equal(registry.requests.length, 2, "refused once, redirected once");
  signature = 2;
  assert.deepEqual(Buffer.from(await blob.readAt(300, 50)), BYTES.subarray(300, 350));
  assert.equal(registry.requests.length, 3);
  assert.ok(store.requests.every(({ headers }) => headers.authorization === undefined));
  assert.deepEqual(ranges(store.requests), [
    "bytes=0-49",
    "bytes=100-149",
    "bytes=200-249",
    "bytes=300-349",
    "bytes=300-349",
  ]);
});

test("a redirect target that stays refused is an error after one new question", async () => {
  await using registry = await startFakeRegistry();
  await using store = await startServer((_request, response) => answer(response, 403));
  registry.blobRedirect = `${store.url}/`;
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  await assert.rejects(blob.readAt(0, 10), { code: "permission_denied" });
  assert.equal(store.requests.length, 1);
});

test("redirects are bounded, and only to http and https", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  for (const location of [
    "/v2/team/app/blobs/round",
    "ftp://x.example/",
    "http://u:s3cret@x.example/",
    "http://[",
  ]) {
    registry.requests.length = 0;
    registry.intercept = (_request, response) => {
      answer(response, 302, { location });
      return true;
    };
    await assert.rejects(
      blob.readAt(0, 10),
      (error: Error) => /Cannot read blob/.test(error.message) && !/s3cret/.test(error.message),
    );
    assert.ok(registry.requests.length <= 6);
  }
});

test("a stall is a time-out, and the rest is fetched", async () => {
  await using registry = await startFakeRegistry();
  let stalls = 1;
  registry.intercept = (_request, response) => {
    stalls -= 1;
    if (stalls < 0) return false;
    response.writeHead(206, {
      "content-range": `bytes 1-${SIZE - 1}/${SIZE}`,
      "content-length": SIZE - 1,
    });
    response.write(BYTES.subarray(1, 1000));
    return true;
  };
  await using client = testClient({ timeouts: { idleMs: 300, headersMs: 300 } });
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  assert.deepEqual(Buffer.from(await blob.readAt(1, SIZE - 1)), BYTES.subarray(1));
  assert.deepEqual(ranges(registry.requests).slice(0, 2), [
    `bytes=1-${SIZE - 1}`,
    `bytes=1000-${SIZE - 1}`,
  ]);
});

test("a server that never answers is a time-out", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = () => true;
  await using client = testClient({ timeouts: { headersMs: 200 }, retry: { attempts: 1 } });
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  await assert.rejects(blob.readAt(0, 10), { code: "deadline_exceeded" });
});

test("an abort ends a read at once, before, during and between requests", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = () => true;
  await using client = testClient();
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  const reason = new Error("enough");
  await assert.rejects(blob.readAt(0, 10, { signal: AbortSignal.abort(reason) }), reason);
  const abort = new AbortController();
  const read = blob.readAt(0, 10, { signal: abort.signal });
  setTimeout(() => abort.abort(reason), 30);
  await assert.rejects(read, reason);
});

test("leaving the loop early gives the connection's permit back", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient({ maxConcurrency: 1 });
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(patternBytes(3_000_000)));
  for (let round = 0; round < 3; round++) {
    for await (const piece of blob.stream(0, 3_000_000)) {
      assert.ok(piece.length > 0);
      break;
    }
  }
  assert.equal((await blob.readAt(5, 10)).length, 10);
});

test("a read that is made again is counted", async () => {
  await using registry = await startFakeRegistry();
  let failures = 2;
  registry.intercept = (_request, response) => {
    if (failures === 0) return false;
    failures -= 1;
    answer(response, 503);
    return true;
  };
  const counts: string[] = [];
  await using client = testClient({
    metrics: { count: (name) => void counts.push(name), observe: () => {} },
  });
  await client.openBlob(repositoryOn(registry), registry.addBlob(BYTES)).readAt(0, 10);
  assert.equal(counts.filter((name) => name === "soci_registry_retries_total").length, 2);
});

test("one repository's requests that hang hold up no other one's", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = ({ path }) => path.includes("/stuck/");
  await using client = testClient({ maxConcurrency: 3 });
  const blob = registry.addBlob(BYTES);
  const abort = new AbortController();
  const stuck = client.openBlob(repositoryOn(registry, "team/stuck"), blob);
  const reads = Array.from({ length: 9 }, (_, at) =>
    stuck.readAt(at, 10, { signal: abort.signal }),
  );
  const other = await client.openBlob(repositoryOn(registry), blob).readAt(0, 10);
  assert.ok(BYTES.subarray(0, 10).equals(other));
  abort.abort(new Error("left"));
  for (const read of reads) await assert.rejects(read, /left/);
});

test("requests to one registry are bounded", async () => {
  await using registry = await startFakeRegistry();
  let active = 0;
  let most = 0;
  registry.intercept = async () => {
    active += 1;
    most = Math.max(most, active);
    await new Promise((resolve) => setTimeout(resolve, 20));
    active -= 1;
    return false;
  };
  await using client = testClient({ maxConcurrency: 3 });
  const blob = client.openBlob(repositoryOn(registry), registry.addBlob(BYTES));
  await Promise.all(Array.from({ length: 12 }, (_, k) => blob.readAt(k, 10)));
  assert.equal(most, 3);
});

test("fetchBlob() checks size and digest, and fetches damaged content once more", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  const descriptor = registry.addBlob(BYTES);
  const name = repositoryOn(registry);
  const damaged = Buffer.from(BYTES);
  damaged[7] = 0;
  registry.blobs.set(descriptor.digest, damaged);
  await assert.rejects(client.fetchBlob(name, descriptor, { maxBytes: SIZE }), {
    code: "data_loss",
    name: "DigestMismatchError",
  });
  assert.equal(registry.requests.length, 2);
  registry.intercept = () => {
    if (registry.requests.length > 3) registry.blobs.set(descriptor.digest, BYTES);
    return false;
  };
  assert.deepEqual(
    Buffer.from(await client.fetchBlob(name, descriptor, { maxBytes: SIZE })),
    BYTES,
  );
  await assert.rejects(client.fetchBlob(name, descriptor, { maxBytes: SIZE - 1 }), {
    code: "resource_exhausted",
  });
});

test("fetchBlob() refuses trailing data", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    answer(
      response,
      200,
      { "transfer-encoding": "chunked" },
      Buffer.concat([BYTES, Buffer.from("x")]),
    );
    return true;
  };
  await using client = testClient();
  await assert.rejects(
    client.fetchBlob(repositoryOn(registry), registry.addBlob(BYTES), { maxBytes: SIZE }),
    /longer than it said/,
  );
});
