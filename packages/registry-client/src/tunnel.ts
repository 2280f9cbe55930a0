import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { connect, isIP, type Socket } from "node:net";
import { type SecureContext, connect as tlsConnect } from "node:tls";
import { AppError } from "@soci-ts/core";
import { buildConnector } from "undici";
import { basicHeader } from "./basic-header.ts";
import { TransportError } from "./errors.ts";
import type { Redactor } from "./redact.ts";

/** What a tunnel is made of. */
export interface TunnelOptions {
  readonly proxy: URL;
  readonly timeoutMs: number;
  /** For the server behind the tunnel. */
  readonly context: SecureContext;
  /** False: any certificate of that server is taken. */
  readonly rejectUnauthorized: boolean;
  /** For the proxy itself, if it is an https one. */
  readonly proxyContext: SecureContext;
  readonly redactor: Redactor;
}

/**
 * Connects to https servers through a proxy's CONNECT (RFC 9110 §9.3.6). undici's own ProxyAgent is not used: it connects
 * again for ever, without a pause, when the proxy closes the connection instead of answering.
 */
export function tunnelConnector(options: TunnelOptions): buildConnector.connector {
  const { proxy, timeoutMs, context, rejectUnauthorized } = options;
  const secure = buildConnector({ timeout: timeoutMs, secureContext: context, rejectUnauthorized });
  return (target, callback) => {
    const authority = `${target.hostname}:${target.port || "443"}`;
    const request = openTunnel(authority, options);
    const settle = (): void => {
      clearTimeout(timer);
      request.removeAllListeners("error").on("error", () => {});
    };
    const fail = (error: Error): void => {
      settle();
      request.destroy();
      callback(error, null);
    };
    const broken = (reason: string, code: "unavailable" | "deadline_exceeded"): void => {
      const text = `Cannot reach ${authority} through the proxy ${proxy.host}: ${reason}`;
      fail(new TransportError(code, text, { sent: false }));
    };
    const timer = setTimeout(() => broken("no answer in time", "deadline_exceeded"), timeoutMs);
    request.on("error", (error: NodeJS.ErrnoException) => {
      broken(error.code ?? "it closes the connection", "unavailable");
    });
    request.once("connect", (answer: IncomingMessage, socket: Socket, head: Buffer) => {
      const status = answer.statusCode ?? 0;
      if (status === 200 && head.length === 0) {
        settle();
        secure({ ...target, httpSocket: socket }, callback);
        return;
      }
      socket.on("error", () => {}).destroy();
      fail(refusal(authority, proxy, status));
    });
    request.end();
  };
}

function openTunnel(authority: string, options: TunnelOptions): ClientRequest {
  const { proxy, proxyContext, redactor } = options;
  const isTls = proxy.protocol === "https:";
  const host = proxy.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = Number(proxy.port || (isTls ? "443" : "80"));
  return httpRequest({
    method: "CONNECT",
    path: authority,
    headers: { host: authority, ...proxyAuthorization(proxy, redactor) },
    createConnection: () =>
      isTls
        ? tlsConnect({
            host,
            port,
            secureContext: proxyContext,
            ...(isIP(host) === 0 && { servername: host }),
          })
        : connect(port, host),
  });
}

/** The header by which a proxy's URL with a user name logs in; none without. */
export function proxyAuthorization(
  proxy: URL,
  redactor: Redactor,
): { readonly "proxy-authorization"?: string } {
  if (proxy.username === "") return {};
  const username = decodeURIComponent(proxy.username);
  const password = decodeURIComponent(proxy.password);
  redactor.add(password);
  return { "proxy-authorization": basicHeader({ username, password }, redactor) };
}

/** A proxy that is overloaded may be asked again; one that refuses may not. */
function refusal(authority: string, proxy: URL, status: number): AppError {
  const text = `Cannot reach ${authority} through the proxy ${proxy.host}: it answers ${status}, want 200`;
  if (status >= 500) return new TransportError("unavailable", text, { sent: false });
  return new AppError(status === 407 ? "unauthenticated" : "permission_denied", text);
}
