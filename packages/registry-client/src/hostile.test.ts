import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import { EMPTY_CONFIG_DIGEST, MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { mutate, seededRandom } from "@soci-ts/testkit";
import type { RegistryClient } from "./client.ts";
import { FAST_RETRY, patternBytes, testClient } from "./testing/clients.ts";

const ROUNDS = 120;

interface RawServer extends AsyncDisposable {
  readonly host: string;
  /** What is written, byte for byte, to whoever asks. */
  reply: Buffer;
}

/** Writes its reply as soon as a request begins, and closes. */
async function startRawServer(): Promise<RawServer> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(raw.reply));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const raw: RawServer = {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    reply: Buffer.alloc(0),
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
  return raw;
}

function rawAnswer(
  status: string,
  headers: Record<string, string | number>,
  body: Uint8Array,
): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${lines.join("")}\r\n`), body]);
}

const INSERTS = [
  "\r\n",
  "\r\n\r\n",
  ": ",
  "0",
  "99999999999999999999",
  "-1",
  "bytes ",
  "\u0000",
  "gzip",
  "chunked",
  "http://[",
  "<",
  ">",
  '"',
  "null",
  "[[[[",
];

const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: { mediaType: "x/y", digest: EMPTY_CONFIG_DIGEST, size: 2 },
    layers: [],
  }),
);
const DIGEST = sha256(MANIFEST);
const BLOB = patternBytes(600);
const DESCRIPTOR = { mediaType: "x/y", digest: sha256(BLOB), size: BLOB.length };
const INDEX = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_INDEX,
    manifests: [
      { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: DIGEST, size: 9, artifactType: "x/y" },
    ],
  }),
);
const TAGS = Buffer.from('{"name":"team/app","tags":["a","b"]}');

interface Case {
  readonly name: string;
  readonly reply: Buffer;
  /** Returns if all that came is right, or lets the client's error through. */
  readonly call: (
    client: RegistryClient,
    name: { registry: string; repository: string },
  ) => Promise<void>;
}

const CASES: readonly Case[] = [
  {
    name: "a manifest",
    reply: rawAnswer(
      "200 OK",
      {
        "content-type": MEDIA_TYPE_OCI_MANIFEST,
        "content-length": MANIFEST.length,
        "docker-content-digest": DIGEST,
      },
      MANIFEST,
    ),
    call: async (client, name) => {
      const { bytes } = await client.fetchManifest({ ...name, digest: DIGEST });
      assert.ok(MANIFEST.equals(bytes));
    },
  },
  {
    name: "a whole blob",
    reply: rawAnswer("200 OK", { "content-length": BLOB.length }, BLOB),
    call: async (client, name) => {
      const bytes = await client.fetchBlob(name, DESCRIPTOR, { maxBytes: 600 });
      assert.ok(BLOB.equals(bytes));
    },
  },
  {
    name: "a range",
    reply: rawAnswer(
      "206 Partial Content",
      { "content-length": 100, "content-range": "bytes 50-149/600" },
      BLOB.subarray(50, 150),
    ),
    call: async (client, name) => {
      const bytes = await client.openBlob(name, DESCRIPTOR).readAt(50, 100);
      assert.equal(bytes.length, 100);
    },
  },
  {
    name: "a redirect",
    reply: rawAnswer(
      "307 Temporary Redirect",
      { location: "http://127.0.0.1:1/blob?sig=x", "content-length": 0 },
      Buffer.alloc(0),
    ),
    call: async (client, name) => {
      await client.openBlob(name, DESCRIPTOR).readAt(50, 100);
    },
  },
  {
    name: "referrers",
    reply: rawAnswer(
      "200 OK",
      {
        "content-type": MEDIA_TYPE_OCI_INDEX,
        "content-length": INDEX.length,
        "oci-filters-applied": "artifactType",
      },
      INDEX,
    ),
    call: async (client, name) => {
      const found = await client.listReferrers(name, DIGEST, { artifactType: "x/y" });
      assert.ok(found.length <= 1);
    },
  },
  {
    name: "tags with a link",
    reply: rawAnswer(
      "200 OK",
      { "content-length": TAGS.length, link: '</v2/team/app/tags/list?n=2&last=b>; rel="next"' },
      TAGS,
    ),
    call: async (client, name) => {
      await client.listTags(name);
    },
  },
  {
    name: "an upload",
    reply: rawAnswer(
      "202 Accepted",
      { location: "/v2/team/app/blobs/uploads/1?x=y", range: "0-0", "content-length": 0 },
      Buffer.alloc(0),
    ),
    call: async (client, name) => {
      await client.pushBlob(name, DESCRIPTOR, BLOB);
    },
  },
  {
    name: "a challenge",
    reply: rawAnswer(
      "401 Unauthorized",
      {
        "www-authenticate":
          'Bearer realm="http://127.0.0.1:1/token",service="s",scope="repository:team/app:pull"',
        "content-length": 0,
      },
      Buffer.alloc(0),
    ),
    call: async (client, name) => {
      await client.ping(name.registry);
    },
  },
  {
    name: "an error",
    reply: rawAnswer(
      "429 Too Many Requests",
      { "retry-after": "1", "content-type": "application/json", "content-length": 60 },
      Buffer.from('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'),
    ),
    call: async (client, name) => {
      await client.ping(name.registry);
    },
  },
];

for (const { name, reply, call } of CASES) {
  test(`any damage to the answer with ${name} gives the right result or an AppError`, async () => {
    await using server = await startRawServer();
    const random = seededRandom(20261122);
    const repository = { registry: server.host, repository: "team/app" };
    await using client = testClient({
      retry: { ...FAST_RETRY, attempts: 1 },
      timeouts: { connectMs: 1000, headersMs: 1000, idleMs: 1000 },
    });
    for (let round = 0; round < ROUNDS; round++) {
      server.reply = round === 0 ? reply : Buffer.from(mutate(reply, random, { tokens: INSERTS }));
      try {
        await call(client, repository);
      } catch (error) {
        const isTyped = error instanceof AppError && error.code !== "internal";
        assert.ok(isTyped, `round ${round}: ${String(error)}\n${server.reply.toString("latin1")}`);
      }
    }
  });
}

test("every truncation of a manifest's answer is an error", async () => {
  await using server = await startRawServer();
  await using client = testClient({ retry: { attempts: 1 } });
  const whole = rawAnswer(
    "200 OK",
    { "content-type": MEDIA_TYPE_OCI_MANIFEST, "content-length": MANIFEST.length },
    MANIFEST,
  );
  for (let length = 0; length < whole.length; length++) {
    server.reply = whole.subarray(0, length);
    const name = { registry: server.host, repository: "team/app", digest: DIGEST };
    await assert.rejects(client.fetchManifest(name), AppError, `length ${length}`);
  }
});
