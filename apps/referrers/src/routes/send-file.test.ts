import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { fstatSync, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ask, freshFolder } from "../testing/http.ts";
import { sendFile } from "./send-file.ts";

describe("sendFile()", () => {
  const chunk = 256 * 1024;
  const bytes = randomBytes(4 * chunk);
  const rows: [name: string, start: number, end: number][] = [
    ["one byte", 0, 1],
    ["less than a chunk", 5, 1000],
    ["exactly a chunk", 0, chunk],
    ["a chunk and a byte", 7, chunk + 8],
    ["exactly two chunks", chunk, 3 * chunk],
    ["everything", 0, 4 * chunk],
  ];
  for (const [name, start, end] of rows) {
    it(`sends ${name} and closes the file`, async () => {
      const { answer, descriptor } = await send(bytes, start, end);
      assert.deepEqual((await answer).bytes, bytes.subarray(start, end));
      assert.throws(() => fstatSync(descriptor), { code: "EBADF" });
    });
  }

  it("breaks off, and never sends other bytes, when the file is too short", async () => {
    const { answer, descriptor, failure } = await send(
      bytes.subarray(0, chunk + 100),
      0,
      3 * chunk,
    );
    await assert.rejects(answer, { code: "ECONNRESET" });
    assert.match(String(await failure), /shorter/);
    assert.throws(() => fstatSync(descriptor), { code: "EBADF" });
  });
});

describe("sendFile(), many times at once", () => {
  it("takes smaller buffers the more files are being sent, and large ones again after that", async () => {
    await using folder = await freshFolder();
    const path = join(folder.path, "file");
    await writeFile(path, new Uint8Array(2_000_000));
    const body = () => {
      const descriptor = openSync(path, "r");
      return { kind: "file", descriptor, start: 0, end: 2_000_000 } as const;
    };
    const stuck: StuckResponse[] = [];
    const sends: Promise<void>[] = [];
    for (let n = 0; n < 300; n += 1) {
      const response = new StuckResponse();
      stuck.push(response);
      sends.push(sendFile(response as unknown as ServerResponse, body()));
    }
    const sizes = await Promise.all(stuck.map((response) => response.firstPiece));
    assert.equal(sizes[0], 256 * 1024);
    assert.ok(sizes.every((size, n) => size <= (sizes[n - 1] ?? size)));
    assert.ok((sizes.at(-1) ?? 0) < 60_000);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    assert.ok(total < 45e6, `the first buffers have ${total} bytes`);
    for (const response of stuck) response.leave();
    await Promise.all(sends);
    const last = new StuckResponse();
    const sent = sendFile(last as unknown as ServerResponse, body());
    assert.equal(await last.firstPiece, 256 * 1024);
    last.leave();
    await sent;
  });
});

/** A response whose client reads nothing. */
class StuckResponse extends EventEmitter {
  destroyed = false;
  readonly writableEnded = false;
  #took = (_size: number): void => {};
  readonly firstPiece = new Promise<number>((resolve) => {
    this.#took = resolve;
  });

  write(piece: Uint8Array): void {
    this.#took(piece.length);
  }

  leave(): void {
    this.destroy();
  }

  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

/** Serves the range once; `failure` is what `sendFile` threw. */
async function send(bytes: Uint8Array, start: number, end: number) {
  await using folder = await freshFolder();
  const path = join(folder.path, "file");
  await writeFile(path, bytes);
  const descriptor = openSync(path, "r");
  let fail = (_error: unknown): void => {};
  const failure = new Promise((resolve) => {
    fail = resolve;
  });
  const server = createServer((_request, response) => {
    response.setHeader("content-length", end - start);
    sendFile(response, { kind: "file", descriptor, start, end }).catch(fail);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const answer = ask(url, "GET", "/").finally(() => server.close());
  await answer.catch(() => {});
  return { answer, descriptor, failure };
}
