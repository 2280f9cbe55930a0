import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it, mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { testConfig } from "./testing/config.ts";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { sendRaw } from "./testing/raw.ts";
import { type Service, startService } from "./wire.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const UNKNOWN = `sha256:${"0".repeat(64)}`;

let folder: Awaited<ReturnType<typeof freshFolder>>;
let service: Service;
let url: string;

before(async () => {
  folder = await freshFolder();
  service = await startService(testConfig(join(folder.path, "root")));
  url = service.url;
});
after(async () => {
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Files of blobs and uploads, and whatever stands where it should not. */
async function stored(): Promise<string[]> {
  const found = await readdir(folder.path, { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile() && !/\.sqlite/.test(entry.name))
    .map(({ name }) => name);
}

function codesOf(answer: string): string[] {
  const [, body = ""] = answer.split("\r\n\r\n");
  return (JSON.parse(body) as { errors: { code: string }[] }).errors.map(({ code }) => code);
}

describe("hostile requests", () => {
  const injected = "%0d%0aX-Injected:%20yes";
  const injections: [method: string, path: string][] = [
    ["GET", `/v2/a${injected}/tags/list`],
    ["GET", `/v2/a/manifests/v1${injected}`],
    ["PUT", `/v2/a/manifests/v1${injected}`],
    ["PUT", `/v2/a/manifests/${UNKNOWN}?tag=v1${injected}`],
    ["GET", `/v2/a/blobs/${UNKNOWN}${injected}`],
    ["GET", `/v2/a/blobs/uploads/x${injected}`],
    ["POST", `/v2/a/blobs/uploads/?mount=${UNKNOWN}${injected}`],
    ["POST", `/v2/a/blobs/uploads/?mount=${UNKNOWN}&from=b${injected}`],
    ["POST", `/v2/a/blobs/uploads/?digest=${UNKNOWN}${injected}`],
    ["POST", `/v2/a/blobs/uploads/?digest-algorithm=sha512${injected}`],
    ["GET", `/v2/a/referrers/${UNKNOWN}?artifactType=a/b${injected}`],
    ["GET", `/v2/a/referrers/${UNKNOWN}?last=1${injected}`],
    ["GET", `/v2/a/tags/list?n=1&last=v1${injected}`],
    ["GET", `/v2/a/tags/list?n=1${injected}`],
  ];
  for (const [method, path] of injections) {
    it(`put no header into the answer to ${method} ${path.slice(0, 50)}`, async () => {
      const answer = await ask(url, method, path);
      assert.ok(answer.status < 500);
      assert.equal(answer.headers["x-injected"], undefined);
      for (const value of Object.values(answer.headers))
        assert.match(String(value), /^[\x20-\x7e]*$/);
    });
  }

  it("cannot put one into a link, where values are encoded", async () => {
    const config = Buffer.from("{}");
    await ask(url, "POST", `/v2/link/blobs/uploads/?digest=${digestOf(config)}`, { body: config });
    const artifactType = "a/b\r\nX-Injected:yes,<http://elsewhere.example/>;rel=next";
    // Together too large for one page.
    for (const n of ["1", "2"]) {
      const body = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          artifactType,
          annotations: { n, "\r\nX-Injected": `yes\r\n${"x".repeat(2_000_000)}` },
          config: { mediaType: "a/b", digest: digestOf(config), size: 2 },
          layers: [],
          subject: { mediaType: MANIFEST, digest: UNKNOWN, size: 1 },
        }),
      );
      const put = await ask(url, "PUT", "/v2/link/manifests/v1", { body });
      assert.equal(put.status, 201);
    }
    const path = `/v2/link/referrers/${UNKNOWN}?artifactType=${encodeURIComponent(artifactType)}`;
    const first = await ask(url, "GET", path);
    assert.equal(first.headers["x-injected"], undefined);
    const next = /^<([^>]*)>; rel="next"$/.exec(String(first.headers["link"]))?.[1];
    const second = await ask(url, "GET", next ?? "");
    const { manifests } = JSON.parse(second.bytes.toString()) as { manifests: object[] };
    assert.equal(manifests.length, 1);
  });

  const broken: [name: string, text: string, status: number][] = [
    ["a bare line feed in a header", "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\nb\r\n\r\n", 400],
    ["a NUL in a header", "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400],
    ["a space in the target", "GET /v2/ x HTTP/1.1\r\nHost: a\r\n\r\n", 400],
    ["no HTTP", "\x16\x03\x01\x02\x00\x01\x00", 400],
    [
      "two lengths",
      "PUT /v2/a/manifests/v HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
      400,
    ],
    [
      "a length and chunks",
      "PUT /v2/a/manifests/v HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    ["a head of 32 KiB", `GET /v2/ HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(32_768)}\r\n\r\n`, 431],
  ];
  for (const [name, text, status] of broken) {
    it(`that are no HTTP (${name}) get ${status} and the connection's end`, async () => {
      using connection = await sendRaw(url, text);
      const answer = await connection.received();
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(answer, /\r\nConnection: close\r\n/);
      assert.deepEqual(codesOf(answer), ["UNSUPPORTED"]);
    });
  }

  it("with many or huge ranges get the blob, its end, or a refusal", async () => {
    const bytes = randomBytes(100_000);
    const path = `/v2/ranges/blobs/${digestOf(bytes)}`;
    await ask(url, "POST", `/v2/ranges/blobs/uploads/?digest=${digestOf(bytes)}`, { body: bytes });
    const rows: [range: string, status: number, length?: number][] = [
      [`bytes=${Array.from({ length: 1_500 }, (_, n) => `${n}-`).join(",")}`, 200, 100_000],
      ["bytes=0-0,-1", 200, 100_000],
      [`bytes=99990-${"9".repeat(1_000)}`, 206, 10],
      [`bytes=-${"9".repeat(1_000)}`, 206, 100_000],
      [`bytes=${"9".repeat(1_000)}-`, 416],
      ["bytes=18446744073709551616-", 416],
      ["bytes=-0", 416],
    ];
    for (const [range, status, length] of rows) {
      const answer = await ask(url, "GET", path, { headers: { range } });
      assert.equal(answer.status, status, range.slice(0, 40));
      if (length !== undefined)
        assert.deepEqual(answer.bytes, bytes.subarray(bytes.length - length));
    }
  });

  it("leave nothing on the disk, whatever they name", async () => {
    const before = await stored();
    const body = Buffer.from("what nobody asked for");
    const targets = [
      "/v2/../../etc/blobs/uploads/",
      "/v2/..%2f..%2fetc/blobs/uploads/",
      "/v2/a/..//b/blobs/uploads/",
      "/v2/a%00/blobs/uploads/",
      "/v2/A/blobs/uploads/",
      `/v2/${"a/".repeat(200)}a/blobs/uploads/`,
      `/v2/a/blobs/uploads/?digest=${UNKNOWN}`,
      "/v2/a/blobs/uploads/?digest=sha256:../../../../etc/passwd",
      "/v2/a/blobs/uploads/?mount=..%2fx&from=..",
    ];
    for (const target of targets) {
      for (const method of ["POST", "PUT", "PATCH"]) {
        const { status } = await ask(url, method, target, { body });
        assert.ok(status >= 400 && status < 500, `${method} ${target} gave ${status}`);
      }
    }
    for (const reference of ["..", "%2e%2e", "..%2fx", UNKNOWN, "a".repeat(129), "-x", "%00"]) {
      const put = await ask(url, "PUT", `/v2/a/manifests/${reference}`, { body });
      assert.ok(put.status >= 400 && put.status < 500, reference);
    }
    const large = Buffer.concat([Buffer.from('{"x":"'), Buffer.alloc(5_000_000, "x")]);
    assert.equal((await ask(url, "PUT", "/v2/a/manifests/v1", { body: large })).status, 413);
    const chunked = { body: large, headers: { "transfer-encoding": "chunked" } };
    assert.equal((await ask(url, "PUT", "/v2/a/manifests/v1", chunked)).status, 413);
    assert.deepEqual(await stored(), before);
    assert.equal((await ask(url, "GET", "/v2/a/tags/list")).status, 404);
  });
});

describe("requests that do not get on", { concurrency: false }, () => {
  const begin = (method: string, path: string): string =>
    `${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n`;
  /** Lets the connection's bytes arrive before the clock moves. */
  const seconds = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 1) {
      mock.timers.tick(1_000);
      await turn();
    }
  };
  const withTimers = async (work: () => Promise<void>): Promise<void> => {
    mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
    try {
      await work();
    } finally {
      mock.timers.reset();
    }
  };

  it("are given up when an upload dawdles; what came of it stays", async () => {
    const { headers } = await ask(url, "POST", "/v2/slow/blobs/uploads/");
    const path = headers.location ?? "";
    await withTimers(async () => {
      using connection = await sendRaw(url, `${begin("PATCH", path)}ab`);
      while ((await ask(url, "GET", path)).headers["range"] !== "0-1") await turn();
      await seconds(31);
      const answer = await connection.received();
      assert.match(answer, /^HTTP\/1\.1 408 /);
      assert.match(answer, /\r\nConnection: close\r\n/i);
      assert.deepEqual(codesOf(answer), ["BLOB_UPLOAD_INVALID"]);
    });
    assert.equal((await ask(url, "GET", path)).headers["range"], "0-1");
    assert.equal(
      (await ask(url, "PATCH", path, { body: Buffer.from("c") })).headers["range"],
      "0-2",
    );
    assert.equal((await ask(url, "DELETE", path)).status, 204);
  });

  it("are given up when a manifest dawdles, or a blob in a single request; nothing stays", async () => {
    const before = await stored();
    for (const [method, path] of [
      ["PUT", "/v2/slow/manifests/v1"],
      ["POST", `/v2/slow/blobs/uploads/?digest=${UNKNOWN}`],
    ] as const) {
      await withTimers(async () => {
        const limited = begin(method, path).replace("100000000", "1000000");
        using connection = await sendRaw(url, `${limited}{`);
        const answer = connection.received();
        let isAnswered = false;
        void answer.then(() => {
          isAnswered = true;
        });
        while (!isAnswered) await seconds(1);
        assert.match(await answer, /^HTTP\/1\.1 408 /);
      });
    }
    assert.deepEqual(await stored(), before);
    assert.equal((await ask(url, "GET", "/v2/slow/manifests/v1")).status, 404);
  });

  it("are cut off when the rest of what was refused dawdles", () =>
    withTimers(async () => {
      using connection = await sendRaw(url, `${begin("PUT", "/v2/slow/manifests/v1")}{`);
      assert.match(await connection.received(/TOO|SIZE_INVALID/), /^HTTP\/1\.1 413 /);
      assert.equal(connection.socket.closed, false);
      await seconds(11);
      await connection.received();
      assert.equal(connection.socket.closed, true);
    }));
});
