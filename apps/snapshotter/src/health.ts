import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AppError, type Logger } from "@soci-ts/core";

/** Whether work can be taken, and if not, why. */
export type Readiness = { readonly ready: true } | { readonly ready: false; readonly why: string };

/** What the listener shows. */
export interface HealthOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly metrics: { text(): Promise<string>; readonly contentType: string };
  readonly readiness: () => Readiness;
  readonly logger: Logger;
}

/** A running listener; whoever started it closes it. */
export interface HealthServer extends AsyncDisposable {
  readonly port: number;
}

const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 5000;
const MAX_HEADER_BYTES = 8192;

/**
 * Listens for `GET /metrics`, `/healthz` (the process answers) and `/readyz` (it can take work; 503 with the reason if not). There is no
 * authentication, nothing is changed by any request, and connections, headers and times are bounded.
 * @throws AppError `failed_precondition` if the address can't be listened on.
 */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const { host, port, logger } = options;
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
    },
    (request, response) => {
      answer(options, request, response).catch((error: unknown) => {
        logger.warn("metrics could not be shown", { error: AppError.from(error).message });
        reply(response, 500, "failed\n");
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    throw cannotListen(host, port, error);
  }
  // Whatever comes later (EMFILE while accepting) is no reason to end the daemon.
  server.on("error", (error) => logger.warn("metrics listener failed", { error: error.message }));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function answer(
  { metrics, readiness }: HealthOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "").split("?")[0];
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return reply(response, 405, "only GET\n");
  }
  if (path === "/metrics") return reply(response, 200, await metrics.text(), metrics.contentType);
  if (path === "/healthz") return reply(response, 200, "ok\n");
  if (path !== "/readyz") return reply(response, 404, "want /metrics, /healthz or /readyz\n");
  const state = readiness();
  return state.ready ? reply(response, 200, "ok\n") : reply(response, 503, `${state.why}\n`);
}

function reply(
  response: ServerResponse,
  status: number,
  body: string,
  contentType = "text/plain; charset=utf-8",
): void {
  if (response.headersSent) return;
  response.writeHead(status, { "Content-Type": contentType, "Cache-Control": "no-store" });
  response.end(body);
}

function cannotListen(host: string, port: number, cause: unknown): AppError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AppError(
    "failed_precondition",
    `Cannot listen on ${host}:${port} for metrics: ${reason}`,
    {
      cause,
    },
  );
}
