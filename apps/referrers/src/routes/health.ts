import type { FastifyInstance } from "fastify";
import type { ServiceMetrics } from "../metrics.ts";
import { sendProblem } from "../problem.ts";

const PLAIN = "text/plain; charset=utf-8";
const READ: string[] = ["GET", "HEAD"];

/** What the routes show. */
export interface HealthParts {
  readonly metrics: ServiceMetrics;
  /** Why no work can be taken; undefined if it can. */
  readonly whyUnready: () => Promise<string | undefined>;
}

/** `/healthz` (the process answers), `/readyz` (it can take work; 503 with the reason if not) and `/metrics`. Nothing is changed by any of them. */
export function addHealthRoutes(server: FastifyInstance, parts: HealthParts): void {
  server.route({
    method: READ,
    url: "/healthz",
    handler: async (_request, reply) =>
      reply.header("Cache-Control", "no-store").type(PLAIN).send("ok\n"),
  });
  server.route({
    method: READ,
    url: "/readyz",
    handler: async (_request, reply) => {
      const why = await parts.whyUnready();
      if (why !== undefined) return sendProblem(reply, 503, why);
      return reply.header("Cache-Control", "no-store").type(PLAIN).send("ok\n");
    },
  });
  server.route({
    method: READ,
    url: "/metrics",
    handler: async (_request, reply) =>
      reply
        .header("Cache-Control", "no-store")
        .type(parts.metrics.contentType)
        .send(await parts.metrics.text()),
  });
}
