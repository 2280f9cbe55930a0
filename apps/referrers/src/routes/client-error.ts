import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

const STATUSES: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_HEADER_OVERFLOW: 431,
};

/**
 * Answers what is no HTTP request, has too large a head, or did not send its head in time (60 s by Node's default, looked at every 30 s), with the
 * specification's error body, and ends the connection.
 */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = STATUSES[error.code ?? ""] ?? 400;
  const message = `Cannot read the request: ${STATUS_CODES[status]}`;
  const body = JSON.stringify({ errors: [{ code: "UNSUPPORTED", message }] });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
