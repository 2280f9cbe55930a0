import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, delay, silentLogger } from "@soci-ts/core";
import { temporary } from "../testing/temporary.ts";
import { callLocal, type LocalHandlers, serveLocalCalls } from "./local-call.ts";

const HANDLERS: LocalHandlers = {
  echo: async (params) => params,
  fail: async () => {
    throw new AppError("failed_precondition", "Cannot do it: not now");
  },
};

/** Runs `test` with the handlers served at a socket. */
async function served(
  handlers: LocalHandlers,
  test: (path: string) => Promise<void>,
): Promise<void> {
  await using directory = await temporary();
  const path = join(directory.path, "s.sock");
  await using _server = await serveLocalCalls(path, handlers, silentLogger);
  await test(path);
}

/** Sends text to a socket, and gives all that comes back until the other side closes. */
async function raw(path: string, text: string): Promise<string> {
  const socket = connect(path);
  socket.on("error", () => {}); // a write to one who has closed
  socket.write(text);
  let reply = "";
  socket.on("data", (piece) => {
    reply += String(piece);
  });
  await once(socket, "close");
  return reply;
}

describe("callLocal()", () => {
  it("brings parameters there and results back, long ones and many at once too", async () => {
    await served(HANDLERS, async (path) => {
      const long = "é\n".repeat(200_000);
      const values = [null, 1, "text", ["a", { b: true }], long];
      assert.deepEqual(await Promise.all(values.map((it) => callLocal(path, "echo", it))), values);
    });
  });

  it("throws what the method threw, by its code", async () => {
    await served(HANDLERS, async (path) => {
      const expected = { code: "failed_precondition", message: "Cannot do it: not now" };
      await assert.rejects(callLocal(path, "fail", null), expected);
    });
  });

  it("refuses methods that there are not, those of every object too", async () => {
    await served(HANDLERS, async (path) => {
      for (const method of ["other", "toString", "__proto__", ""]) {
        await assert.rejects(callLocal(path, method, null), { code: "unimplemented" }, method);
      }
    });
  });

  it("says that nobody listens, or went away", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "s.sock");
    await assert.rejects(callLocal(path, "echo", 1), { code: "unavailable" });
    const never = new Promise<null>(() => {});
    const server = await serveLocalCalls(path, { hang: () => never }, silentLogger);
    const hanging = callLocal(path, "hang", null);
    const refused = assert.rejects(hanging, { code: "unavailable" });
    await delay(50);
    await server[Symbol.asyncDispose]();
    await refused;
    await assert.rejects(callLocal(path, "echo", 1), { code: "unavailable" });
  });

  it("leaves with its signal's reason, and the handler is aborted", async () => {
    let aborted = (): void => {};
    const isAborted = new Promise<void>((resolve) => {
      aborted = resolve;
    });
    const hang: LocalHandlers["hang"] = (_params, { signal }) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => {
          aborted();
          reject(signal.reason);
        });
      });
    await served({ hang }, async (path) => {
      const abort = new AbortController();
      const call = callLocal(path, "hang", null, { signal: abort.signal });
      const left = assert.rejects(call, /enough/);
      await delay(50);
      abort.abort(new Error("enough"));
      await left;
      await isAborted;
      await assert.rejects(callLocal(path, "hang", null, { signal: abort.signal }), /enough/);
    });
  });
});

describe("serveLocalCalls()", () => {
  it("makes a socket that is root's alone, and takes it away", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "s.sock");
    const server = await serveLocalCalls(path, HANDLERS, silentLogger);
    assert.equal(statSync(path).mode % 0o1000, 0o600);
    assert.deepEqual(await readdir(directory.path), ["s.sock"]);
    await server[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(directory.path), []);
  });

  it("takes a socket over, and the one before does not take it away", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "s.sock");
    const first = await serveLocalCalls(path, { who: async () => "first" }, silentLogger);
    await using _second = await serveLocalCalls(path, { who: async () => "second" }, silentLogger);
    assert.equal(await callLocal(path, "who", null), "second");
    await first[Symbol.asyncDispose]();
    assert.ok(existsSync(path));
    assert.equal(await callLocal(path, "who", null), "second");
  });

  it("closes on what is no request, and on a line that is too long", async () => {
    await served(HANDLERS, async (path) => {
      for (const text of ["no JSON\n", "null\n", "x".repeat(2 ** 20 + 10)]) {
        assert.equal(await raw(path, text), "", text.slice(0, 20));
      }
      assert.equal(await callLocal(path, "echo", "still there"), "still there");
    });
  });

  it("throws away what comes after the request", async () => {
    await served(HANDLERS, async (path) => {
      const request = `${JSON.stringify({ method: "echo", params: 1 })}\n`;
      const reply = await raw(path, request + "y".repeat(3_000_000));
      assert.ok(reply === '{"result":1}\n' || reply === "", reply);
    });
  });
});
