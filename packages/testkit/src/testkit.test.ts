import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Fault, startFaultProxy } from "./fault-proxy.ts";
import { startSlowLink } from "./slow-link.ts";
import { buildTar, seededBytes } from "./tar-builder.ts";
import { compareTrees, scanTree } from "./tree.ts";

const BODY = seededBytes(200_000, 1);
const server = createServer((request, response) => {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (range === null) response.end(BODY);
  else {
    const start = Number(range[1]);
    const end = Number(range[2]) + 1;
    response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${BODY.length}` });
    response.end(BODY.subarray(start, end));
  }
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const address = server.address();
const target = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
after(() => server.close());

async function get(
  host: string,
): Promise<{ status: number; body: Buffer; contentRange: string | null }> {
  const response = await fetch(`http://${host}/x`, { headers: { range: "bytes=1000-1999" } });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, body, contentRange: response.headers.get("content-range") };
}

test("startFaultProxy() passes on what no rule touches, and counts it", async () => {
  await using proxy = await startFaultProxy(target);
  const answer = await get(proxy.host);
  assert.equal(answer.status, 206);
  assert.deepEqual(answer.body, Buffer.from(BODY.subarray(1000, 2000)));
  assert.deepEqual(
    proxy.requests.map(({ method, range }) => [method, range]),
    [["GET", "bytes=1000-1999"]],
  );
  assert.equal(proxy.bytesSent, 1000);
});

const SPOILED: readonly [Fault, (answer: Awaited<ReturnType<typeof get>>) => boolean][] = [
  [{ kind: "status", status: 503 }, (answer) => answer.status === 503],
  [
    { kind: "flip", atByte: 10 },
    (answer) => answer.body[10] === 255 - BODY[1010]! && answer.body[11] === BODY[1011],
  ],
  [
    { kind: "ignore-range" },
    (answer) => answer.status === 200 && answer.body.length === BODY.length,
  ],
  [{ kind: "wrong-content-range" }, (answer) => answer.contentRange === "bytes 1-2/999999999"],
];
for (const [fault, isSpoiled] of SPOILED) {
  test(`startFaultProxy() answers with a fault of kind ${fault.kind}`, async () => {
    await using proxy = await startFaultProxy(target);
    proxy.rule = () => fault;
    assert.ok(isSpoiled(await get(proxy.host)));
  });
}

test("startFaultProxy() cuts a body, and hangs", async () => {
  await using proxy = await startFaultProxy(target);
  proxy.rule = () => ({ kind: "cut", afterBytes: 10 });
  await assert.rejects(get(proxy.host));
  proxy.rule = () => ({ kind: "hang" });
  await assert.rejects(fetch(`http://${proxy.host}/`, { signal: AbortSignal.timeout(50) }));
});

test("startSlowLink() delays by the round trip, limits the bandwidth and counts", async () => {
  await using link = await startSlowLink(target, { rttMs: 20, megabitPerSecond: 16 });
  const started = performance.now();
  const response = await fetch(`http://${link.host}/x`);
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), Buffer.from(BODY));
  // 200,000 bytes at 2 bytes a microsecond are 100 ms; timers may only be late.
  assert.ok(performance.now() - started > 100);
  assert.equal(link.counts.requests, 1);
  assert.ok(link.counts.bytesDown > BODY.length);
});

test("scanTree() and compareTrees() see content, links and names that are not UTF-8", async () => {
  const folder = await mkdtemp(join(tmpdir(), "soci-testkit-"));
  after(() => rm(folder, { recursive: true }));
  await writeFile(Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0x61, 0xe9)]), "x");
  await symlink("a", join(folder, "link"));
  const before = await scanTree(folder);
  assert.deepEqual(
    before.map(({ path, type }) => [path, type]),
    [
      ["", "dir"],
      ["a\u00e9", "file"],
      ["link", "symlink"],
    ],
  );
  assert.deepEqual(compareTrees(before, before), []);
  await writeFile(join(folder, "new"), "");
  await writeFile(Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0x61, 0xe9)]), "y");
  const differences = compareTrees(
    await scanTree(folder),
    before,
    (_, field) => field === "mtimeNs",
  );
  assert.equal(differences.length, 2);
});

test("buildTar() gives 512-byte records", async () => {
  const tar = await buildTar([
    { name: "a/", type: "directory" },
    { name: "a/b", content: "hello" },
  ]);
  assert.equal(tar.length % 512, 0);
});
