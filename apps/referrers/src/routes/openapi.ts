import type { FastifyInstance } from "fastify";
import { openApiDocument } from "../openapi.ts";

/** `/openapi.json`: the description of all paths beside `/v2`. */
export function addOpenApiRoute(server: FastifyInstance, version: string): void {
  const bytes = Buffer.from(JSON.stringify(openApiDocument(version)));
  server.route({
    method: ["GET", "HEAD"],
    url: "/openapi.json",
    handler: async (_request, reply) => reply.type("application/json").send(bytes),
  });
}
