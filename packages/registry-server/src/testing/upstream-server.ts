import { once } from "node:events";
import { closeSync, readSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type RegistryResponse, splitTarget } from "../http.ts";
import { openRegistryServer, type RegistryServer } from "../registry-server.ts";
import { parseRoute } from "../route.ts";
import { freshFolder } from "./harness.ts";

/** How a test's upstream differs from a whole registry; may be changed while it runs. */
export interface UpstreamBehaviour {
  /** What becomes of manifests with a subject, and of the referrers API. */
  subjects: "listed" | "not listed" | "refused";
  /** Whether ranges are understood. */
  ranges: boolean;
  /** The status of every request that would change something; undefined lets them be. */
  readOnly: number | undefined;
  /** The only Authorization that is let in, and with which rights; undefined lets everybody in. */
  login: string | undefined;
  /** Answers instead if it returns true. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

/** A registry on the loopback, in this process, that behaves as it is told. */
export interface UpstreamServer extends AsyncDisposable, UpstreamBehaviour {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: URL;
  readonly registry: RegistryServer;
  /** `METHOD path` of each request. */
  readonly requests: string[];
  readonly authorizations: (string | undefined)[];
  /** Bytes of blobs that were sent. */
  blobBytes: number;
  /** Ends all connections and refuses new ones; the registry and its content stay. */
  stop(): Promise<void>;
  /** Listens again at the same port. */
  restart(): Promise<void>;
}

/** Starts an upstream over a fresh registry. */
export async function startUpstream(
  behaviour: Partial<UpstreamBehaviour> = {},
): Promise<UpstreamServer> {
  const folder = await freshFolder();
  const registry = await openRegistryServer(folder.path);
  const server = createServer((request, response) => {
    response.on("error", () => {});
    result.requests.push(`${request.method} ${request.url}`);
    result.authorizations.push(request.headers.authorization);
    if (result.intercept?.(request, response) === true) return;
    serve(result, request, response).catch(() => response.destroy());
  });
  const listen = async (port: number): Promise<number> => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return typeof address === "object" ? (address?.port ?? 0) : 0;
  };
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  const port = await listen(0);
  const result: UpstreamServer = {
    ...{ subjects: "listed", ranges: true, readOnly: undefined, login: undefined },
    intercept: undefined,
    ...behaviour,
    ...{ registry, requests: [], authorizations: [], blobBytes: 0, stop },
    host: `127.0.0.1:${port}`,
    url: new URL(`http://127.0.0.1:${port}`),
    async restart() {
      await listen(port);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await registry.close();
      await folder[Symbol.asyncDispose]();
    },
  };
  return result;
}

async function serve(
  upstream: UpstreamServer,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = "", url = "" } = request;
  if (upstream.login !== undefined && request.headers.authorization !== upstream.login) {
    refuse(response, 401, { "WWW-Authenticate": 'Basic realm="upstream"' });
    return;
  }
  const isRead = method === "GET" || method === "HEAD";
  if (upstream.readOnly !== undefined && !isRead) {
    request.resume();
    refuse(response, upstream.readOnly);
    return;
  }
  const { kind } = parseRoute(splitTarget(url).path);
  if (kind === "referrers" && upstream.subjects !== "listed") {
    refuse(response, 404);
    return;
  }
  const body = await bodyOf(request);
  if (kind === "manifest" && upstream.subjects === "refused" && hasSubject(body)) {
    refuse(response, 400);
    return;
  }
  const { range, ...headers } = request.headers;
  const kept = upstream.ranges ? request.headers : headers;
  const pieces = (async function* () {
    yield body;
  })();
  const answer = await upstream.registry.handle({ method, url, headers: kept, body: pieces });
  const { "OCI-Subject": subject, ...others } = answer.headers;
  const isTold = subject !== undefined && upstream.subjects === "listed";
  response.writeHead(answer.status, isTold ? answer.headers : others);
  const bytes = bytesOf(answer);
  if (kind === "blob") upstream.blobBytes += bytes.length;
  response.end(bytes);
}

function hasSubject(body: Buffer): boolean {
  return body.length > 0 && "subject" in JSON.parse(body.toString());
}

function refuse(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = JSON.stringify({ errors: [{ code: "UNSUPPORTED", message: "no" }] });
  const described = { "Content-Type": "application/json", "Content-Length": body.length };
  response.writeHead(status, { ...described, ...headers }).end(body);
}

function bytesOf({ body }: RegistryResponse): Buffer {
  if (body?.kind === "bytes") return Buffer.from(body.bytes);
  if (body?.kind !== "file") return Buffer.alloc(0);
  const bytes = Buffer.alloc(body.end - body.start);
  readSync(body.descriptor, bytes, 0, bytes.length, body.start);
  closeSync(body.descriptor);
  return bytes;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of request) pieces.push(piece as Uint8Array);
  return Buffer.concat(pieces);
}
