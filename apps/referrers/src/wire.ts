import { createServer as createHttpsServer } from "node:https";
import { DisposeStack } from "@soci-ts/core";
import { openAccess, openRegistryServer } from "@soci-ts/registry-server";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyServerFactory,
  fastify,
  LogController,
} from "fastify";
import { destination, type Logger, pino } from "pino";
import { accessOptions } from "./config/access-options.ts";
import { isLoopbackHost } from "./config/check-settings.ts";
import type { Config } from "./config.ts";
import { pinoLogger } from "./logger.ts";
import { addDistributionRoutes } from "./routes/distribution.ts";
import { keepOutsidersOut } from "./routes/outsiders.ts";
import { addTokenRoute } from "./routes/token.ts";
import { TlsFiles } from "./tls-files.ts";

/** A connection that moves no byte for this long is dropped, whatever it was doing. */
const IDLE_TIMEOUT_MS = 300_000;
/** How long a connection that nobody uses is kept. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** How long requests under way may go on after the order to stop. */
const DRAIN_TIMEOUT_MS = 10_000;

/** The program, serving. */
export interface Service extends AsyncDisposable {
  /** `http://<host>:<port>`, or https, with the port that is really used. */
  readonly url: string;
  /** Reads certificates, passwords and keys again, and opens the audit log anew. */
  reload(): void;
}

/** Opens the registry and listens. Disposing stops listening, lets requests under way end (10 s), and closes the registry. */
export async function startService(config: Config): Promise<Service> {
  const log = pino({ name: "soci-referrers", level: config.logLevel }, destination(2));
  await using resources = new DisposeStack();
  const logger = pinoLogger(log);
  const tls = config.tls.certificateFile === "" ? undefined : new TlsFiles(config.tls, logger);
  resources.defer(() => tls?.[Symbol.dispose]());
  const registry = resources.use(await openRegistryServer(config.root, { logger }));
  const access = resources.use(await openAccess(accessOptions(config, logger)));
  const server = createServer(log, tls);
  keepOutsidersOut(server, access);
  addDistributionRoutes(server, access.guard(registry, registry.facts));
  if (access.tokens !== undefined) addTokenRoute(server, access.tokens);
  resources.defer(() => stop(server));
  const address = await server.listen({
    host: config.host,
    port: config.port,
    listenTextResolver: (address) => `listening on ${address}`,
  });
  if (access.isOpen && !isLoopbackHost(config.host)) {
    log.warn({ address }, "anyone who reaches this address may push and delete");
  }
  const running = resources.move();
  return {
    url: tls === undefined ? address : address.replace(/^http:/, "https:"),
    reload: () => {
      tls?.reload();
      access.reload();
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

function createServer(log: Logger, tls: TlsFiles | undefined): FastifyInstance {
  const server = fastify({
    ...(tls && { serverFactory: tlsServerFactory(tls) }),
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    bodyLimit: Number.MAX_SAFE_INTEGER,
    connectionTimeout: IDLE_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    frameworkErrors: (_error, _request, reply) => {
      refuse(reply, 400, "NAME_INVALID", "Cannot read the path: its percent-encoding is broken");
    },
  });
  let isStopping = false;
  server.addHook("preClose", async () => {
    isStopping = true;
  });
  server.addHook("onResponse", async (request, reply) => {
    // Its client may keep the connection open, and closing waits for connections.
    if (isStopping) setImmediate(() => server.server.closeIdleConnections());
    const { method, url } = request;
    const status = reply.statusCode;
    request.log.debug({ method, url, status, ms: Math.round(reply.elapsedTime) }, "request");
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) request.log.error({ reason: error.message }, "request failed");
    if (status >= 500) refuse(reply, status, "UNKNOWN", "The registry failed");
    else refuse(reply, status, "UNSUPPORTED", error.message);
  });
  server.setNotFoundHandler((_request, reply) => {
    refuse(reply, 404, "UNSUPPORTED", "Cannot serve this path: want /v2/…");
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

/** What the web server itself refuses has the specification's error body too. */
function refuse(reply: FastifyReply, status: number, code: string, message: string): void {
  void reply.code(status).send({ errors: [{ code, message }] });
}

async function stop(server: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => server.server.closeAllConnections(), DRAIN_TIMEOUT_MS);
  try {
    await server.close();
  } finally {
    clearTimeout(timer);
  }
}
