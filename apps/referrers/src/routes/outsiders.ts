import type { Access } from "@soci-ts/registry-server";
import type { FastifyInstance } from "fastify";
import { sendProblem } from "../problem.ts";
import { registryRequest } from "./registry-request.ts";

/** Paths with a check of their own, and those that tell nothing but whether the service works. */
const CHECKED_ELSEWHERE = /^\/(?:v2|v2\/.*|token|healthz|readyz)$/;

/** Shows everything else, present or not, only to who is logged in or asks from this machine, where there is access control. */
export function keepOutsidersOut(server: FastifyInstance, access: Access): void {
  server.addHook("onRequest", async (request, reply) => {
    const path = (request.raw.url ?? "").split("?")[0] ?? "";
    if (CHECKED_ELSEWHERE.test(path)) return;
    const refusal = await access.refuseOutsider(registryRequest(request));
    if (refusal === undefined) return;
    const { status, headers } = refusal;
    const { "WWW-Authenticate": challenge, "Retry-After": retryAfter } = headers;
    if (challenge !== undefined) reply.header("WWW-Authenticate", challenge);
    if (retryAfter !== undefined) reply.header("Retry-After", retryAfter);
    const detail = status === 401 ? "want a user name and password" : "try again later";
    return sendProblem(reply, status, `Cannot show this: ${detail}`);
  });
}
