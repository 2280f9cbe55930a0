import { randomUUID } from "node:crypto";
import { AppError, DisposeStack } from "@soci-ts/core";
import { openRegistryServer, type RegistryServer } from "@soci-ts/registry-server";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from "fastify";
import { destination, type Logger, pino } from "pino";
import type { Config } from "./config.ts";
import { gcPolicy } from "./gc-policy.ts";
import { pinoLogger } from "./logger.ts";
import { countCollection, createMetrics, type ServiceMetrics, watchFreeSpace } from "./metrics.ts";
import { observeRequests } from "./observe-requests.ts";
import { packageVersion } from "./package-version.ts";
import { sendProblem } from "./problem.ts";
import { addDistributionRoutes } from "./routes/distribution.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addOpenApiRoute } from "./routes/openapi.ts";

/** A connection that moves no byte for this long is dropped, whatever it was doing. */
const IDLE_TIMEOUT_MS = 300_000;
/** How long requests under way may go on after the order to stop. */
const DRAIN_TIMEOUT_MS = 10_000;

/** The program, serving. */
export interface Service extends AsyncDisposable {
  /** `http://<host>:<port>` with the port that is really used. */
  readonly url: string;
  /** Every route but those of `/v2`, as `GET /healthz`. */
  readonly routes: readonly string[];
  /** Has the registry collect garbage; how it ends is logged. */
  collectGarbage(): void;
}

/** Opens the registry and listens. Disposing stops listening, lets requests under way end (10 s), and closes the registry. */
export async function startService(config: Config): Promise<Service> {
  const log = pino({ name: "soci-referrers", level: config.logLevel }, destination(2));
  const metrics = createMetrics();
  await using resources = new DisposeStack();
  const registry = resources.use(await openRegistry(config, metrics, log));
  const server = createServer(log);
  const routes = collectRoutes(server);
  observeRequests(server, metrics);
  addDistributionRoutes(server, registry);
  addHealthRoutes(server, { metrics, whyUnready: readiness(server, registry) });
  addOpenApiRoute(server, packageVersion());
  resources.defer(() => stop(server));
  const url = await server.listen({
    host: config.host,
    port: config.port,
    listenTextResolver: (address) => `listening on ${address}`,
  });
  const running = resources.move();
  return {
    url,
    routes,
    collectGarbage: () => {
      registry.collectGarbage().catch((error: unknown) => {
        log.warn({ reason: AppError.from(error).message }, "no garbage was collected");
      });
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

async function openRegistry(
  config: Config,
  metrics: ServiceMetrics,
  log: Logger,
): Promise<RegistryServer> {
  const isReadOnly = config.mode === "read-only";
  metrics.set("soci_referrers_read_only", isReadOnly ? 1 : 0);
  watchFreeSpace(metrics, config.root);
  return openRegistryServer(config.root, {
    logger: pinoLogger(log),
    isReadOnly,
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

function createServer(log: Logger): FastifyInstance {
  const server = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    exposeHeadRoutes: false,
    bodyLimit: Number.MAX_SAFE_INTEGER,
    connectionTimeout: IDLE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    frameworkErrors: (_error, request, reply) => {
      const message = "Cannot read the path: its percent-encoding is broken";
      refuse(request, reply, { status: 400, code: "NAME_INVALID", message });
    },
  });
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
    const isKnown = server.hasRoute({ method: "GET", url: path });
    if (isKnown) reply.header("Allow", "GET, HEAD");
    const status = isKnown ? 405 : 404;
    const message = isKnown ? "Cannot do that: want GET or HEAD" : "Cannot serve this path";
    refuse(request, reply, { status, code: "UNSUPPORTED", message });
  });
  return server;
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
