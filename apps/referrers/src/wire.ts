import { AppError, DisposeStack, type Logger } from "@soci-ts/core";
import {
  type Companion,
  openAccess,
  openCompanion,
  openRegistryServer,
  type RegistryServer,
} from "@soci-ts/registry-server";
import type { FastifyInstance } from "fastify";
import { destination, pino } from "pino";
import { accessOptions } from "./config/access-options.ts";
import { isLoopbackHost } from "./config/check-settings.ts";
import { cacheDirectory, companionOptions } from "./config/companion-options.ts";
import type { Config } from "./config.ts";
import { gcPolicy } from "./gc-policy.ts";
import { pinoLogger } from "./logger.ts";
import { countCollection, type ServiceMetrics, serviceMetrics, watchFreeSpace } from "./metrics.ts";
import { observeRequests } from "./observe-requests.ts";
import { packageVersion } from "./package-version.ts";
import { addDistributionRoutes } from "./routes/distribution.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addOpenApiRoute } from "./routes/openapi.ts";
import { keepOutsidersOut } from "./routes/outsiders.ts";
import { addTokenRoute } from "./routes/token.ts";
import { TlsFiles } from "./tls-files.ts";
import { createWebServer, isDistribution, stopWebServer } from "./web-server.ts";

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
  const metrics = serviceMetrics();
  await using resources = new DisposeStack();
  const logger = pinoLogger(log);
  const tls = config.tls.certificateFile === "" ? undefined : new TlsFiles(config.tls, logger);
  resources.defer(() => tls?.[Symbol.dispose]());
  const registry = resources.use(await openRegistry(config, metrics, logger));
  const companion = await startCompanion(config, registry, { metrics, logger });
  if (companion !== undefined) resources.use(companion);
  const access = resources.use(await openAccess(accessOptions(config, logger)));
  const server = createWebServer(log, tls);
  const routes = collectRoutes(server);
  observeRequests(server, metrics);
  keepOutsidersOut(server, access);
  const facts = companion?.facts(registry.facts) ?? registry.facts;
  addDistributionRoutes(server, access.guard(companion ?? registry, facts));
  if (access.tokens !== undefined) addTokenRoute(server, access.tokens);
  addHealthRoutes(server, { metrics, whyUnready: readiness(server, registry) });
  addOpenApiRoute(server, packageVersion());
  resources.defer(() => stopWebServer(server));
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
