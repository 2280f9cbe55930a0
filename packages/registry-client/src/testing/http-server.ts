import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, type ServerOptions } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** A request that a test server got. */
export interface SeenRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** True if the client showed a certificate. */
  readonly hasCertificate: boolean;
}

/** Answers a request; what it leaves open stays open until the server is closed. */
export type Handler = (request: SeenRequest, response: ServerResponse) => void | Promise<void>;

/** An HTTP server of a test, on the loopback. */
export interface TestServer extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
  readonly requests: SeenRequest[];
  handler: Handler;
}

/** Starts a server in this process; with `tls` it speaks https. */
export async function startServer(handler: Handler, tls?: ServerOptions): Promise<TestServer> {
  const requests: SeenRequest[] = [];
  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    response.on("error", () => {});
    void readAll(incoming).then(
      async (body) => {
        const { method = "", url: path = "", headers } = incoming;
        const hasCertificate = isCertified(incoming.socket);
        const request = { method, path, headers, body, hasCertificate };
        requests.push(request);
        await result.handler(request, response);
      },
      () => response.destroy(),
    );
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const host = `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  const result: TestServer = {
    host,
    url: `${tls === undefined ? "http" : "https"}://${host}`,
    requests,
    handler,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return result;
}

function isCertified(socket: Socket): boolean {
  return socket instanceof TLSSocket && Object.keys(socket.getPeerCertificate()).length > 0;
}

async function readAll(incoming: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of incoming) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Answers with a status, headers and a body, all at once. */
export function answer(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string | number | readonly string[]>> = {},
  body: Uint8Array | string = "",
): void {
  response.writeHead(status, headers as Record<string, string>);
  response.end(body);
}
