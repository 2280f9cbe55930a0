import { randomUUID } from "node:crypto";
import { createServer as createHttpsServer } from "node:https";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerFactory,
  fastify,
  LogController,
} from "fastify";
import type { Logger } from "pino";
import { sendProblem } from "./problem.ts";
import { answerClientError } from "./routes/client-error.ts";
import type { TlsFiles } from "./tls-files.ts";

/** A connection that moves no byte for this long is dropped, whatever it was doing. */
const IDLE_TIMEOUT_MS = 300_000;
/** Connections beyond this are closed at once: each may hold some kilobytes, and a file. */
const MAX_CONNECTIONS = 8_192;
/** How long a connection that nobody uses is kept. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] as const;
/** How long requests under way may go on after the order to stop. */
const DRAIN_TIMEOUT_MS = 10_000;

/** A web server without routes: its limits, and how it refuses and fails. The caller stops it: {@link stopWebServer}. */
export function createWebServer(log: Logger, tls: TlsFiles | undefined): FastifyInstance {
  const server = fastify({
    ...(tls && { serverFactory: tlsServerFactory(tls) }),
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    exposeHeadRoutes: false,
    bodyLimit: Number.MAX_SAFE_INTEGER,
    connectionTimeout: IDLE_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    clientErrorHandler: answerClientError,
    frameworkErrors: (_error, request, reply) => {
      const message = "Cannot read the path: its percent-encoding is broken";
      refuse(request, reply, { status: 400, code: "NAME_INVALID", message });
    },
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  let isStopping = false;
  server.addHook("preClose", async () => {
    isStopping = true;
  });
  server.addHook("onResponse", async () => {
    // Its client may keep the connection open, and closing waits for connections.
    if (isStopping) setImmediate(() => server.server.closeIdleConnections());
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status < 500) {
      return refuse(request, reply, { status, code: "UNSUPPORTED", message: error.message });
    }
    request.log.error({ reason: error.message }, "request failed");
    refuse(request, reply, { status, code: "UNKNOWN", message: "The registry failed" });
  });
  server.setNotFoundHandler((request, reply) => {
    const [path = ""] = (request.raw.url ?? "").split("?");
    const allowed = METHODS.filter((method) => server.hasRoute({ method, url: path })).join(", ");
    if (allowed === "") {
      return refuse(request, reply, {
        status: 404,
        code: "UNSUPPORTED",
        message: "There is nothing here",
      });
    }
    reply.header("Allow", allowed);
    const message = `Cannot do that here: want ${allowed}`;
    refuse(request, reply, { status: 405, code: "UNSUPPORTED", message });
  });
  return server;
}

/** With the timeouts that fastify gives to servers that it makes itself. */
function tlsServerFactory(tls: TlsFiles): FastifyServerFactory {
  return (handler) => {
    const server = createHttpsServer(tls.pair, handler);
    server.setTimeout(IDLE_TIMEOUT_MS);
    server.requestTimeout = 0;
    server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
    tls.onChange((pair) => server.setSecureContext(pair));
    return server;
  };
}

interface Refusal {
  readonly status: number;
  /** Of the specification, for what is below `/v2`. */
  readonly code: string;
  readonly message: string;
}

/** What the web server itself refuses has the specification's error body below `/v2`, and a problem document elsewhere. */
function refuse(
  request: FastifyRequest,
  reply: FastifyReply,
  { status, code, message }: Refusal,
): void {
  if (isDistribution(request.raw.url ?? "")) {
    void reply.code(status).send({ errors: [{ code, message }] });
  } else sendProblem(reply, status, message);
}

/** True for what is below `/v2`. */
export function isDistribution(url: string): boolean {
  return /^\/v2(?:[/?]|$)/.test(url);
}

/** Stops listening and lets requests under way end, for 10 s at most. */
export async function stopWebServer(server: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => server.server.closeAllConnections(), DRAIN_TIMEOUT_MS);
  try {
    await server.close();
  } finally {
    clearTimeout(timer);
  }
}
