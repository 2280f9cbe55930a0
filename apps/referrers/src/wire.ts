import { randomUUID } from "node:crypto";
import { createServer as createHttpsServer } from "node:https";
import { AppError, DisposeStack, type Logger } from "@soci-ts/core";
import {
  type Companion,
  openAccess,
  openCompanion,
  openRegistryServer,
  type RegistryServer,
} from "@soci-ts/registry-server";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerFactory,
  fastify,
  LogController,
} from "fastify";
import { destination, type Logger as PinoLogger, pino } from "pino";
import { accessOptions } from "./config/access-options.ts";
import { isLoopbackHost } from "./config/check-settings.ts";
import { cacheDirectory, companionOptions } from "./config/companion-options.ts";
import type { Config } from "./config.ts";
import { gcPolicy } from "./gc-policy.ts";
import { pinoLogger } from "./logger.ts";
import { countCollection, createMetrics, type ServiceMetrics, watchFreeSpace } from "./metrics.ts";
import { observeRequests } from "./observe-requests.ts";
import { packageVersion } from "./package-version.ts";
import { sendProblem } from "./problem.ts";
import { answerClientError } from "./routes/client-error.ts";
import { addDistributionRoutes } from "./routes/distribution.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addOpenApiRoute } from "./routes/openapi.ts";
import { keepOutsidersOut } from "./routes/outsiders.ts";
import { addTokenRoute } from "./routes/token.ts";
import { TlsFiles } from "./tls-files.ts";

/** A connection that moves no byte for this long is dropped, whatever it was doing. */
const IDLE_TIMEOUT_MS = 300_000;
/** Connections beyond this are closed at once: each may hold some kilobytes, and a file. */
const MAX_CONNECTIONS = 8_192;
/** How long a connection that nobody uses is kept. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] as const;
/** How long requests under way may go on after the order to stop. */
const DRAIN_TIMEOUT_MS = 10_000;

/** The program, serving. */
export interface Service extends AsyncDisposable {
  /** `http://<host>:<port>`, or https, with the port that is really used. */
  readonly url: string;
  /** Every route but those of `/v2`, as `GET /healthz`. */
  readonly routes: readonly string[];
  /** Has the registry collect garbage; how it ends is logged. */
  collectGarbage(): void;
  /** Reads certificates, passwords and keys again, and opens the audit log anew. */
  reload(): void;
}

/** Opens the registry and listens. Disposing stops listening, lets requests under way end (10 s), and closes the registry. */
export async function startService(config: Config): Promise<Service> {
  const log = pino({ name: "soci-referrers", level: config.logLevel }, destination(2));
  const metrics = createMetrics();
  await using resources = new DisposeStack();
  const logger = pinoLogger(log);
  const tls = config.tls.certificateFile === "" ? undefined : new TlsFiles(config.tls, logger);
  resources.defer(() => tls?.[Symbol.dispose]());
  const registry = resources.use(await openRegistry(config, metrics, logger));
  const companion = await startCompanion(config, registry, { metrics, logger });
  if (companion !== undefined) resources.use(companion);
  const access = resources.use(await openAccess(accessOptions(config, logger)));
  const server = createServer(log, tls);
  const routes = collectRoutes(server);
  observeRequests(server, metrics);
  keepOutsidersOut(server, access);
  const facts = companion?.facts(registry.facts) ?? registry.facts;
  addDistributionRoutes(server, access.guard(companion ?? registry, facts));
  if (access.tokens !== undefined) addTokenRoute(server, access.tokens);
  addHealthRoutes(server, { metrics, whyUnready: readiness(server, registry) });
  addOpenApiRoute(server, packageVersion());
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
    routes,
    collectGarbage: () => {
      registry.collectGarbage().catch((error: unknown) => {
        log.warn({ reason: AppError.from(error).message }, "no garbage was collected");
      });
    },
    reload: () => {
      tls?.reload();
      access.reload();
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** The companion, if the configuration names an upstream. */
async function startCompanion(
  config: Config,
  registry: RegistryServer,
  deps: { readonly metrics: ServiceMetrics; readonly logger: Logger },
): Promise<Companion | undefined> {
  const options = companionOptions(config, deps);
  if (options === undefined) return undefined;
  const companion = await openCompanion(cacheDirectory(config.root), registry, options);
  const { metrics } = deps;
  metrics.onCollect(() => metrics.set("soci_referrers_cache_bytes", companion.cacheBytes));
  return companion;
}

async function openRegistry(
  config: Config,
  metrics: ServiceMetrics,
  logger: Logger,
): Promise<RegistryServer> {
  const isReadOnly = config.mode === "read-only";
  metrics.set("soci_referrers_read_only", isReadOnly ? 1 : 0);
  watchFreeSpace(metrics, config.root);
  return openRegistryServer(config.root, {
    logger,
    isReadOnly,
    allowsSparse: config.references === "unchecked",
    gc: {
      policy: gcPolicy(config),
      intervalMs: config.gc.intervalMs,
      onEnd: (end) => countCollection(metrics, end),
    },
  });
}

/** Why the service can't take work; undefined if it can. A full disk is no reason: pulls work. */
function readiness(
  server: FastifyInstance,
  registry: RegistryServer,
): () => Promise<string | undefined> {
  let isStopping = false;
  server.addHook("preClose", async () => {
    isStopping = true;
  });
  return async () => {
    if (isStopping) return "the service is stopping";
    try {
      await registry.probe();
      return undefined;
    } catch (error) {
      server.log.error({ reason: AppError.from(error).message }, "not ready");
      return "the registry's data can't be read; the log says why";
    }
  };
}

function collectRoutes(server: FastifyInstance): string[] {
  const routes: string[] = [];
  server.addHook("onRoute", ({ method, url }) => {
    if (isDistribution(url)) return;
    routes.push(...[method].flat().map((each) => `${each} ${url}`));
  });
  return routes;
}

function createServer(log: PinoLogger, tls: TlsFiles | undefined): FastifyInstance {
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

function isDistribution(url: string): boolean {
  return /^\/v2(?:[/?]|$)/.test(url);
}

async function stop(server: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => server.server.closeAllConnections(), DRAIN_TIMEOUT_MS);
  try {
    await server.close();
  } finally {
    clearTimeout(timer);
  }
}
