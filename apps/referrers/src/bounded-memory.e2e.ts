import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Program, startProgram } from "./testing/program.ts";
import { sendRaw } from "./testing/raw.ts";

const ATTEMPTS = 10_000;
const MOST_OPEN = 4_096;
const CONNECTIONS = 1_000;
const SENDERS = 8;

describe("soci-referrers and clients that end no upload", () => {
  it("takes as many as it has room for, refuses the others, and goes on serving", async () => {
    await using folder = await freshFolder();
    const root = join(folder.path, "root");
    await using program = await startProgram(root);
    const bytes = Buffer.from("pushed before");
    await ask(program.url, "POST", `/v2/r/blobs/uploads/?digest=${digestOf(bytes)}`, {
      body: bytes,
    });
    const atStart = residentBytes(program);
    const answers = await openUploads(program, ATTEMPTS);
    const refused = answers.filter((answer) => statusOf(answer) === 429);
    const begun = answers.filter((answer) => statusOf(answer) === 202);
    assert.deepEqual([begun.length, refused.length], [MOST_OPEN, ATTEMPTS - MOST_OPEN]);
    assert.match(refused[0] ?? "", /\r\nretry-after: \d+\r\n/i);
    assert.match(refused[0] ?? "", /\r\n\r\n\{"errors":\[\{"code":"TOOMANYREQUESTS",/);
    assert.equal((await readdir(join(root, "uploads"))).length, MOST_OPEN);
    assert.ok(residentBytes(program) - atStart < 160e6, "160 MB more memory are in use");

    const served = await ask(program.url, "GET", `/v2/r/blobs/${digestOf(bytes)}`);
    assert.deepEqual(served.bytes, bytes);
    const location = locationOf(begun[0]);
    const closed = await ask(program.url, "PUT", `${location}?digest=${digestOf(bytes)}`, {
      body: bytes,
    });
    assert.equal(closed.status, 201);
    const two = (await openUploads(program, 2)).map(statusOf);
    assert.deepEqual(two.sort(), [202, 429]);
  });

  it("holds a thousand connections that stop in the middle in little memory", async () => {
    await using folder = await freshFolder();
    await using program = await startProgram(join(folder.path, "root"));
    const begun = await openUploads(program, CONNECTIONS);
    const atStart = residentBytes(program);
    const piece = "x".repeat(16_384);
    const connections = await Promise.all(
      begun.map((answer) =>
        sendRaw(
          program.url,
          `PATCH ${locationOf(answer)} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${piece}`,
        ),
      ),
    );
    try {
      const last = locationOf(begun.at(-1));
      const range = async () => (await ask(program.url, "GET", last)).headers["range"];
      while ((await range()) !== "0-16383") {
        assert.ok(
          connections.every(({ socket }) => !socket.closed),
          "a connection was cut",
        );
      }
      assert.ok(residentBytes(program) - atStart < 150e6, "150 MB more memory are in use");
    } finally {
      for (const connection of connections) connection[Symbol.dispose]();
    }
  });
});

/** Begins uploads over a few connections, many requests in a row on each; returns the answers as text. */
async function openUploads(program: Program, count: number): Promise<string[]> {
  const one = "POST /v2/r/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n";
  const share = Math.ceil(count / SENDERS);
  const texts = await Promise.all(
    Array.from({ length: Math.min(SENDERS, count) }, async () => {
      const requests = `${one}\r\n`.repeat(share - 1);
      using connection = await sendRaw(program.url, `${requests}${one}Connection: close\r\n\r\n`);
      return await connection.received();
    }),
  );
  return texts.flatMap((text) => text.split(/(?=HTTP\/1\.1 \d{3} )/));
}

function statusOf(answer: string): number {
  return Number(answer.slice("HTTP/1.1 ".length, "HTTP/1.1 ".length + 3));
}

function locationOf(answer: string | undefined): string {
  return /\r\nlocation: (\S+)\r\n/i.exec(answer ?? "")?.[1] ?? "";
}

function residentBytes({ pid }: Program): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
