import { connect } from "node:tls";
import { AppError } from "@soci-ts/core";
import { isLoopbackHost } from "./proxy.ts";

/** Whether registries are spoken to in plain HTTP; `auto`: only those on the loopback that do not speak TLS. */
export type PlainHttp = boolean | "auto";

/** The scheme to use for a registry `host[:port]`. */
export async function chooseScheme(
  host: string,
  plainHttp: PlainHttp,
  timeoutMs: number,
): Promise<"http:" | "https:"> {
  if (plainHttp === true) return "http:";
  const { hostname, port } = new URL(`https://${host}`);
  if (plainHttp === false || !isLoopbackHost(hostname)) return "https:";
  return (await speaksTls(hostname, Number(port || "443"), timeoutMs)) ? "https:" : "http:";
}

/** OpenSSL's names for an answer that is no TLS at all; an alert (say, about a client certificate) is TLS. */
const NOT_TLS: ReadonlySet<string> = new Set([
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "ERR_SSL_PACKET_LENGTH_TOO_LONG",
  "ERR_SSL_UNKNOWN_PROTOCOL",
  "ERR_SSL_HTTP_REQUEST",
  "ECONNRESET",
  "EPROTO",
]);

/** Tries a handshake only to see whether there is one: the certificate is checked when the connection is used. */
function speaksTls(hostname: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const socket = connect({ host, port, rejectUnauthorized: false, timeout: timeoutMs });
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("secureConnect", () => settle(true));
    socket.once("timeout", () => settle(false));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const code = error.code ?? "";
      if (NOT_TLS.has(code)) settle(false);
      else if (code.startsWith("ERR_SSL_")) settle(true);
      else reject(AppError.from(error));
    });
  });
}
