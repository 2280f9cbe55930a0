import { PROBLEM_MEDIA_TYPE } from "./problem.ts";

/** What an operation answers, by status. */
type Responses = Readonly<Record<string, object>>;

const PROBLEM = (description: string): object => ({
  description,
  content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } },
});

const TEXT = (description: string, example: string): object => ({
  description,
  content: { "text/plain": { schema: { type: "string" }, example } },
});

/** GET and HEAD of a path; HEAD has the same answers without their bodies. */
function read(operationId: string, summary: string, responses: Responses): object {
  const bare = Object.entries(responses).map(([status, response]) => [
    status,
    { description: (response as { readonly description: string }).description },
  ]);
  return {
    get: { operationId, summary, responses },
    head: {
      operationId: `${operationId}Head`,
      summary: `${summary} Without the body.`,
      responses: Object.fromEntries(bare) as object,
    },
  };
}

/**
 * The OpenAPI 3.1 document of all that is not `/v2`, which the distribution specification describes. Served at `/openapi.json`; a test holds it against the
 * routes that the service really has.
 */
export function openApiDocument(version: string): object {
  return {
    openapi: "3.1.0",
    info: {
      title: "soci-referrers",
      version,
      description:
        "The paths beside the distribution API (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md), which is at /v2/.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths: {
      "/healthz": read("getHealth", "Whether the process answers.", {
        "200": TEXT("It does.", "ok\n"),
      }),
      "/readyz": read("getReadiness", "Whether the service can take work.", {
        "200": TEXT("It can.", "ok\n"),
        "503": PROBLEM("It can't; the detail says why."),
      }),
      "/metrics": read("getMetrics", "Metrics in Prometheus' text format.", {
        "200": TEXT("All metrics.", "soci_referrers_requests_under_way 1\n"),
      }),
      "/openapi.json": read("getOpenApi", "This document.", {
        "200": {
          description: "An OpenAPI document.",
          content: { "application/json": { schema: { type: "object" } } },
        },
      }),
    },
    components: {
      schemas: {
        Problem: {
          description: "A problem document (RFC 9457).",
          type: "object",
          required: ["type", "title", "status", "detail"],
          properties: {
            type: { const: "about:blank" },
            title: { type: "string" },
            status: { type: "integer" },
            detail: { type: "string" },
          },
        },
      },
    },
  };
}
