import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, get, type IncomingMessage } from "node:http";
import { describe, it, type TestContext } from "node:test";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Program, startProgram } from "./testing/program.ts";

const PULLS = 200;
const PUSHES = 50;
const PULLED = randomBytes(1_200_000);
const CONFIG = Buffer.from("{}");
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
/** What the process may take at its peak; without any load it takes about 100 MiB. */
const MEMORY_LIMIT_KIB = 330 * 1024;

function peakKib({ pid }: Program): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Opens a download and reads nothing of its body. */
async function open(program: Program, agent: Agent): Promise<IncomingMessage> {
  const outgoing = get(`${program.url}/v2/r/blobs/${digestOf(PULLED)}`, { agent });
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  response.pause();
  return response;
}

async function isWhole(response: IncomingMessage): Promise<boolean> {
  let at = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    if (!piece.equals(PULLED.subarray(at, at + piece.length))) return false;
    at += piece.length;
  }
  return response.statusCode === 200 && at === PULLED.length;
}

/** Pushes an image as clients do: an upload in two chunks, a config at once, a manifest. */
async function push(program: Program, name: string, agent: Agent): Promise<Buffer> {
  const layer = Buffer.concat([Buffer.from(name), PULLED.subarray(0, 600_000)]);
  const repository = `/v2/push/${name}`;
  const send = (method: string, path: string, body: Buffer, headers = {}) =>
    ask(program.url, method, path, { body, headers, agent });
  const upload = await send("POST", `${repository}/blobs/uploads/`, Buffer.alloc(0));
  const location = upload.headers.location ?? "";
  assert.equal((await send("PATCH", location, layer.subarray(0, 400_000))).status, 202);
  const last = await send("PUT", `${location}?digest=${digestOf(layer)}`, layer.subarray(400_000));
  assert.equal(last.status, 201);
  await send("POST", `${repository}/blobs/uploads/?digest=${digestOf(CONFIG)}`, CONFIG);
  const descriptor = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: descriptor("application/vnd.oci.image.config.v1+json", CONFIG),
      layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }),
  );
  const put = await send("PUT", `${repository}/manifests/v1`, manifest, {
    "content-type": MANIFEST,
  });
  assert.equal(put.status, 201);
  return manifest;
}

describe("soci-referrers under many clients", () => {
  it(`serves ${PULLS} pulls while ${PUSHES} images are pushed, in bounded memory`, async (t: TestContext) => {
    await using folder = await freshFolder();
    await using program = await startProgram(folder.path);
    const agent = new Agent({ keepAlive: true, maxSockets: PULLS + PUSHES });
    const path = `/v2/r/blobs/uploads/?digest=${digestOf(PULLED)}`;
    assert.equal((await ask(program.url, "POST", path, { body: PULLED })).status, 201);
    const quietKib = peakKib(program);
    const names = Array.from({ length: PUSHES }, (_, at) => `image-${at}`);
    const downloads = await Promise.all(Array.from({ length: PULLS }, () => open(program, agent)));
    const [whole, manifests] = await Promise.all([
      Promise.all(downloads.map(isWhole)),
      Promise.all(names.map((name) => push(program, name, agent))),
    ]);
    assert.deepEqual(new Set(whole), new Set([true]));
    for (const [at, name] of names.entries()) {
      const answer = await ask(program.url, "GET", `/v2/push/${name}/manifests/v1`, { agent });
      assert.deepEqual(answer.bytes, manifests[at]);
    }
    const busyKib = peakKib(program);
    t.diagnostic(`peak memory: ${quietKib} KiB before, ${busyKib} KiB after`);
    assert.ok(busyKib < MEMORY_LIMIT_KIB, `peak memory ${busyKib} KiB`);
    agent.destroy();
  });
});
