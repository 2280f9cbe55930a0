import { once } from "node:events";
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";

/** What a fault proxy does to one request. */
export type Fault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** Sends the head and `afterBytes` of the body, then closes the connection. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Inverts the body's byte `atByte` (of the last byte if the body is shorter). */
  | { readonly kind: "flip"; readonly atByte: number }
  /** Never answers; closes the connection after `forMs`, if that is said. */
  | { readonly kind: "hang"; readonly forMs?: number }
  /** Sends the head and `afterBytes` of the body, then nothing more. */
  | { readonly kind: "stall"; readonly afterBytes: number }
  /** Sends the body, a byte a second. */
  | { readonly kind: "trickle" }
  | { readonly kind: "delay"; readonly delayMs: number }
  /** Answers a range request with the whole body and 200. */
  | { readonly kind: "ignore-range" }
  /** Answers a range request with a Content-Range that is not the one asked for. */
  | { readonly kind: "wrong-content-range" };

/** A request as the fault rule sees it. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** 0 for the first request through this proxy. */
  readonly ordinal: number;
}

/** An HTTP proxy in front of a registry, whose answers go wrong as a rule says. */
export interface FaultProxy extends AsyncDisposable {
  readonly host: string;
  /** The rule in force; `undefined` passes everything on. */
  rule: ((request: SeenRequest) => Fault | undefined) | undefined;
  /** Requests seen so far. */
  readonly requests: readonly SeenRequest[];
  /** Body bytes sent to clients so far. */
  readonly bytesSent: number;
}

/** Starts a fault proxy on a free port of the loopback, in this process. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const [hostname, port] = target.split(":");
  const requests: SeenRequest[] = [];
  let bytesSent = 0;
  const server = createServer((incoming, outgoing) => {
    outgoing.on("error", () => {});
    const seen: SeenRequest = {
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      range: incoming.headers.range,
      authorization: incoming.headers.authorization,
      ordinal: requests.length,
    };
    requests.push(seen);
    const fault = proxy.rule?.(seen);
    void respond(incoming, outgoing, fault).catch(() => outgoing.destroy());
  });
  const respond = async (
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    fault: Fault | undefined,
  ): Promise<void> => {
    if (fault?.kind === "hang") {
      if (fault.forMs !== undefined) setTimeout(() => outgoing.destroy(), fault.forMs).unref();
      return;
    }
    if (fault?.kind === "status") {
      incoming.resume();
      outgoing.writeHead(fault.status, fault.headers).end(fault.body ?? "{}");
      return;
    }
    if (fault?.kind === "delay") await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    const upstream = forward(incoming, { hostname, port }, fault);
    const [answer] = (await once(upstream, "response")) as [IncomingMessage];
    const headers = { ...answer.headers };
    if (fault?.kind === "wrong-content-range") headers["content-range"] = "bytes 1-2/999999999";
    outgoing.writeHead(answer.statusCode ?? 502, headers);
    const finished = await copyBody(answer, outgoing, fault, (sent) => {
      bytesSent += sent;
    });
    if (finished) outgoing.end();
    else {
      upstream.destroy();
      outgoing.destroy();
    }
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const proxy: FaultProxy = {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    rule: undefined,
    requests,
    get bytesSent() {
      return bytesSent;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}

function forward(
  incoming: IncomingMessage,
  target: { hostname: string | undefined; port: string | undefined },
  fault: Fault | undefined,
): ClientRequest {
  const headers = { ...incoming.headers };
  if (fault?.kind === "ignore-range") delete headers.range;
  const upstream = request({ ...target, method: incoming.method, path: incoming.url, headers });
  incoming.pipe(upstream);
  incoming.on("close", () => {
    if (!incoming.complete) upstream.destroy();
  });
  return upstream;
}

/** False if the body was cut, by the fault or by the client. */
async function copyBody(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
  onSent: (bytes: number) => void,
): Promise<boolean> {
  const bodyBytes = Number(answer.headers["content-length"] ?? Number.POSITIVE_INFINITY);
  let sent = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    const piece = spoil(chunk, { before: sent, bodyBytes }, fault);
    sent += piece.length;
    onSent(piece.length);
    if (fault?.kind === "trickle") await trickle(piece, outgoing);
    else if (!outgoing.write(piece)) await drained(outgoing);
    if (fault?.kind === "stall" && sent >= fault.afterBytes) await once(outgoing, "close");
    if (outgoing.destroyed || (fault?.kind === "cut" && sent >= fault.afterBytes)) return false;
  }
  return true;
}

async function trickle(bytes: Buffer, outgoing: ServerResponse): Promise<void> {
  for (let at = 0; at < bytes.length && !outgoing.destroyed; at += 1) {
    outgoing.write(bytes.subarray(at, at + 1));
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** Waits until more can be sent, or nothing ever. */
async function drained(outgoing: ServerResponse): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  try {
    await Promise.race([once(outgoing, "drain", { signal }), once(outgoing, "close", { signal })]);
  } finally {
    over.abort();
  }
}

function spoil(
  chunk: Buffer,
  place: { readonly before: number; readonly bodyBytes: number },
  fault: Fault | undefined,
): Buffer {
  const { before, bodyBytes } = place;
  if (fault?.kind === "cut" || fault?.kind === "stall")
    return chunk.subarray(0, Math.max(0, fault.afterBytes - before));
  if (fault?.kind !== "flip") return chunk;
  const at = Math.min(fault.atByte, bodyBytes - 1) - before;
  if (at < 0 || at >= chunk.length) return chunk;
  const copy = Buffer.from(chunk);
  copy.writeUInt8(255 - copy.readUInt8(at), at);
  return copy;
}
