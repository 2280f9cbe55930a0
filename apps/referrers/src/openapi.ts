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

const JSON_OF = (schema: string, description: string): object => ({
  description,
  content: { "application/json": { schema: { $ref: `#/components/schemas/${schema}` } } },
});

/** Clients of the token protocol read the specification's error bodies. */
const TOKEN_RESPONSES: Responses = {
  "200": JSON_OF(
    "Token",
    "A token for what is allowed of what was asked for, which may be nothing.",
  ),
  "400": JSON_OF("Errors", "The request can't be understood."),
  "401": JSON_OF("Errors", "Wrong or missing name and password."),
  "429": JSON_OF("Errors", "Too many requests or wrong passwords from this address."),
};

/** What outsiders get where there is access control. */
const OUTSIDER_RESPONSES: Responses = {
  "401": PROBLEM("It is only for who is logged in (Basic) or asks from the machine itself."),
  "429": PROBLEM("Too many requests or wrong passwords from this address."),
};

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

const TOKEN_PATH = {
  get: {
    operationId: "getToken",
    summary: "Issues a token for the distribution API. Only there where users have passwords here.",
    parameters: [
      { name: "service", in: "query", schema: { type: "string" } },
      {
        name: "scope",
        in: "query",
        description: "What the token is for, as repository:team/app:pull,push.",
        schema: { type: "array", items: { type: "string" } },
      },
    ],
    security: [{}, { basic: [] }],
    responses: TOKEN_RESPONSES,
  },
  post: {
    operationId: "postToken",
    summary: "The same with a form of OAuth 2.",
    requestBody: {
      required: true,
      content: {
        "application/x-www-form-urlencoded": {
          schema: {
            type: "object",
            required: ["grant_type", "username", "password"],
            properties: {
              grant_type: { const: "password" },
              username: { type: "string" },
              password: { type: "string", format: "password" },
              service: { type: "string" },
              scope: { type: "string" },
            },
          },
        },
      },
    },
    responses: TOKEN_RESPONSES,
  },
};

const SCHEMAS = {
  Token: {
    description: "A token, as the docker token protocol has it.",
    type: "object",
    required: ["token", "access_token", "expires_in", "issued_at"],
    properties: {
      token: { type: "string" },
      access_token: { type: "string" },
      expires_in: { description: "Seconds.", type: "integer" },
      issued_at: { type: "string", format: "date-time" },
    },
  },
  Errors: {
    description: "An error body of the distribution specification.",
    type: "object",
    required: ["errors"],
    properties: {
      errors: {
        type: "array",
        items: {
          type: "object",
          required: ["code"],
          properties: { code: { type: "string" }, message: { type: "string" } },
        },
      },
    },
  },
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
};

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
        ...OUTSIDER_RESPONSES,
      }),
      "/token": TOKEN_PATH,
      "/openapi.json": read("getOpenApi", "This document.", {
        "200": {
          description: "An OpenAPI document.",
          content: { "application/json": { schema: { type: "object" } } },
        },
        ...OUTSIDER_RESPONSES,
      }),
    },
    components: {
      securitySchemes: { basic: { type: "http", scheme: "basic" } },
      schemas: SCHEMAS,
    },
  };
}
