import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { type Readiness, startHealthServer } from "./health.ts";
import { createMetrics } from "./metrics.ts";

function start(readiness: () => Readiness = () => ({ ready: true }), metrics = createMetrics()) {
  return startHealthServer({
    host: "127.0.0.1",
    port: 0,
    metrics,
    readiness,
    logger: silentLogger,
  });
}

describe("startHealthServer()", () => {
  it("shows metrics, health and readiness, and nothing else", async () => {
    let state: Readiness = { ready: false, why: "the mount helper is starting" };
    await using server = await start(() => state);
    const get = (path: string, method = "GET") =>
      fetch(`http://127.0.0.1:${server.port}${path}`, { method });
    const metrics = await get("/metrics");
    assert.match(metrics.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    assert.match(await metrics.text(), /soci_layer_requests_total 0/);
    assert.equal((await get("/healthz?x=1")).status, 200);
    const notReady = await get("/readyz");
    assert.equal(notReady.status, 503);
    assert.equal(await notReady.text(), "the mount helper is starting\n");
    state = { ready: true };
    assert.equal((await get("/readyz")).status, 200);
    assert.equal((await get("/")).status, 404);
    assert.equal((await get("/metrics", "POST")).status, 405);
  });

  it("answers 500 where a collector fails, and goes on", async () => {
    const metrics = createMetrics();
    metrics.onCollect(() => Promise.reject(new Error("broken")));
    await using server = await start(undefined, metrics);
    const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    assert.equal(response.status, 500);
    assert.equal(await response.text(), "failed\n");
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status, 200);
  });

  it("says which address is taken, and closes with connections open", async () => {
    const server = await start();
    await assert.rejects(
      startHealthServer({
        host: "127.0.0.1",
        port: server.port,
        metrics: createMetrics(),
        readiness: () => ({ ready: true }),
        logger: silentLogger,
      }),
      { code: "failed_precondition", message: /Cannot listen on 127\.0\.0\.1:\d+ for metrics/ },
    );
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    await server[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    socket.destroy();
  });
});
