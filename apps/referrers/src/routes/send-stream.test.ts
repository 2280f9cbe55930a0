import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, get, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { ask } from "../testing/http.ts";
import { sendStream } from "./send-stream.ts";

describe("sendStream()", () => {
  it("sends all pieces and cancels what is left of them", async () => {
    const pieces = [randomBytes(300_000), randomBytes(1), randomBytes(70_000)];
    let cancelled = 0;
    const { url, server } = await serve(
      async function* () {
        yield* pieces;
      },
      () => {
        cancelled += 1;
      },
    );
    const answer = await ask(url, "GET", "/");
    assert.deepEqual(answer.bytes, Buffer.concat(pieces));
    assert.ok(cancelled > 0);
    server.close();
  });

  it("cuts the connection when the pieces fail", async () => {
    const { url, server, ended } = await serve(async function* () {
      yield randomBytes(1000);
      throw new Error("wrong digest");
    });
    await assert.rejects(ask(url, "GET", "/"), { code: "ECONNRESET" });
    assert.match(String(await ended), /wrong digest/);
    server.close();
  });

  it("cancels a piece that is awaited when the client leaves", async () => {
    let cancel = (): void => {};
    const gone = new Promise<void>((resolve) => {
      cancel = resolve;
    });
    const { url, server, ended } = await serve(async function* () {
      yield randomBytes(10);
      await gone;
      throw new Error("cancelled");
    }, cancel);
    const request = get(url);
    request.on("error", () => {});
    await once(request, "response");
    request.destroy();
    assert.equal(await ended, undefined);
    server.close();
  });
});

/** Serves one stream; `ended` is what `sendStream` threw, or undefined. */
async function serve(
  pieces: () => AsyncIterable<Uint8Array>,
  cancel: () => void = () => {},
): Promise<{ url: string; server: Server; ended: Promise<unknown> }> {
  let end = (_error?: unknown): void => {};
  const ended = new Promise((resolve) => {
    end = resolve;
  });
  const server = createServer((_request, response) => {
    sendStream(response, { kind: "stream", pieces: pieces(), cancel }).then(() => end(), end);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, ended };
}
