import type { TokenEndpoint } from "@soci-ts/registry-server";
import type { FastifyInstance } from "fastify";
import { registryRequest } from "./registry-request.ts";

/** Binds the token server to `/token`. */
export function addTokenRoute(server: FastifyInstance, tokens: TokenEndpoint): void {
  server.route({
    method: ["GET", "POST"],
    url: "/token",
    handler: async (request, reply) => {
      const { status, headers, body } = await tokens.handle(registryRequest(request));
      const bytes = body?.kind === "bytes" ? Buffer.from(body.bytes) : undefined;
      return reply.code(status).headers(headers).send(bytes);
    },
  });
}
