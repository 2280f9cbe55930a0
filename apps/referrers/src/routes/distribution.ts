import type { IncomingMessage } from "node:http";
import type { RegistryHandler } from "@soci-ts/registry-server";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { registryRequest } from "./registry-request.ts";
import { sendFile } from "./send-file.ts";
import { sendStream } from "./send-stream.ts";

/** What is left of a refused body is read and dropped up to here, so that the client sees the answer; then the connection goes. */
const DISCARD_LIMIT_BYTES: number = 8 * 1024 * 1024;
/** So long at most. */
const DISCARD_LIMIT_MS = 10_000;
/** The answer to a body that came too slowly: nothing more of it is read. */
const REQUEST_TIMEOUT = 408;

/**
 * Binds the distribution API to `/v2/*`. One wildcard, because repository names have slashes, and paths are parsed by the
 * registry from the raw request target. Bodies are not parsed here: they go through as streams, without a limit.
 */
export function addDistributionRoutes(server: FastifyInstance, registry: RegistryHandler): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { raw } = request;
    const response = await registry.handle(registryRequest(request));
    if (response.status === REQUEST_TIMEOUT) reply.header("Connection", "close");
    else discardRest(raw);
    const { status, headers, body } = response;
    if (body === undefined || body.kind === "bytes") {
      return reply
        .code(status)
        .headers(headers)
        .send(body && asBuffer(body.bytes));
    }
    reply.hijack();
    const outgoing = reply.raw.writeHead(status, headers);
    await (body.kind === "file" ? sendFile(outgoing, body) : sendStream(outgoing, body));
    return reply;
  };
  server.all("/v2", answer);
  server.all("/v2/*", answer);
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function discardRest(request: IncomingMessage): void {
  if (request.readableEnded || request.destroyed) return;
  // All has come, which is nothing: so it is with most requests.
  if (request.complete && request.readableLength === 0) return;
  let leftBytes = DISCARD_LIMIT_BYTES;
  const timer = setTimeout(() => request.destroy(), DISCARD_LIMIT_MS);
  request.once("close", () => clearTimeout(timer));
  request.on("data", (piece: Uint8Array) => {
    leftBytes -= piece.length;
    if (leftBytes < 0) request.destroy();
  });
  request.resume();
}
