import type { Socket } from "node:net";
import { describeTarget } from "@soci-ts/registry-server";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ServiceMetrics } from "./metrics.ts";

/** What a connection had moved when its last request ended: the rest belongs to the next one. */
interface Moved {
  readonly received: number;
  readonly sent: number;
}

/**
 * Writes one line for each request when its answer has ended or its client has left, and counts it. A line has no query, no header and no path but the
 * repository's name: nothing that can be a secret.
 */
export function observeRequests(server: FastifyInstance, metrics: ServiceMetrics): void {
  const before = new WeakMap<Socket, Moved>();
  let underWay = 0;
  server.addHook("onRequest", (request, reply, done) => {
    const start = performance.now();
    underWay += 1;
    reply.raw.once("close", () => {
      underWay -= 1;
      const ms = performance.now() - start;
      report(request, reply, { ms, ...movedSince(request.raw.socket, before) }, metrics);
    });
    done();
  });
  metrics.onCollect(() => metrics.set("soci_referrers_requests_under_way", underWay));
}

function report(
  request: FastifyRequest,
  reply: FastifyReply,
  { ms, received, sent }: Moved & { readonly ms: number },
  metrics: ServiceMetrics,
): void {
  const { method } = request;
  const { kind: route, repository } = routeOf(request);
  const status = reply.raw.statusCode;
  const isAborted = !reply.raw.writableFinished;
  request.log.info(
    {
      method,
      route,
      repository,
      status,
      receivedBytes: received,
      sentBytes: sent,
      ms: Math.round(ms * 10) / 10,
      ...(isAborted && { aborted: true }),
    },
    "request",
  );
  const labels = { method, route, status: isAborted ? "aborted" : String(status) };
  metrics.count("soci_referrers_requests_total", 1, labels);
  metrics.observe("soci_referrers_request_duration_seconds", ms / 1000, { route });
  metrics.count("soci_referrers_received_bytes_total", received);
  metrics.count("soci_referrers_sent_bytes_total", sent);
}

function routeOf(request: FastifyRequest): { kind: string; repository?: string | undefined } {
  const url = request.raw.url ?? "";
  if (/^\/v2(?:[/?]|$)/.test(url)) return describeTarget(url);
  const path = request.routeOptions.url;
  // A path that we do not have is the client's text, and stays out of the log.
  return { kind: path === undefined ? "other" : path.slice(1).replace(/\.json$/, "") };
}

function movedSince(socket: Socket, before: WeakMap<Socket, Moved>): Moved {
  const now = { received: socket.bytesRead, sent: socket.bytesWritten };
  const last = before.get(socket) ?? { received: 0, sent: 0 };
  before.set(socket, now);
  return { received: now.received - last.received, sent: now.sent - last.sent };
}
