import { STATUS_CODES } from "node:http";
import type { FastifyReply } from "fastify";

/** A problem document (RFC 9457 §3.1) of the type `about:blank`: the title is the status's. */
export interface Problem {
  readonly type: "about:blank";
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}

/** Media type of a {@link Problem}. */
export const PROBLEM_MEDIA_TYPE = "application/problem+json";

/**
 * Answers with an error outside `/v2`, where the specification's error bodies have no place. `detail` is for people, and holds no secret. The body is
 * given as bytes: to a text fastify would add a charset, which this type does not have.
 */
export function sendProblem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  const problem: Problem = {
    type: "about:blank",
    title: STATUS_CODES[status] ?? "Error",
    status,
    detail,
  };
  return reply
    .code(status)
    .header("Content-Type", PROBLEM_MEDIA_TYPE)
    .header("Cache-Control", "no-store")
    .send(Buffer.from(JSON.stringify(problem)));
}
