import { rm } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { AppError, type ErrorCode, type IoOptions, type Logger } from "@soci-ts/core";
import type { JsonValue } from "../mount-record.ts";

/** A request of one process of the node to another. */
export type LocalHandler = (params: JsonValue, options: IoOptions) => Promise<JsonValue>;

/** Methods by name. */
export type LocalHandlers = Readonly<Record<string, LocalHandler>>;

/** A request or an answer is one JSON line of at most this length. */
const MAX_LINE_BYTES = 64 * 2 ** 20;

/** A caller that says nothing is not waited for longer. */
const REQUEST_TIMEOUT_MS = 10_000;

type Answer =
  | { readonly result: JsonValue }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };

/**
 * Answers requests on a Unix socket, mode 0600, one to a connection: the caller sends `{"method", "params"}` as one line and gets one line
 * back. A caller that leaves aborts its handler's signal. A socket that is there is taken over: the root directory has one owner.
 */
export async function serveLocalCalls(
  path: string,
  handlers: LocalHandlers,
  logger: Logger,
): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // a caller that left
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    void answer(socket, handlers).catch((error: unknown) => {
      logger.debug("local call not answered", { error: AppError.from(error).message });
      socket.destroy();
    });
  });
  await rm(path, { force: true });
  await listenPrivately(server, path);
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The socket has its mode before anyone can connect: the process makes files for itself alone while it binds. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  const previous = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(previous);
  }
}

async function answer(socket: Socket, handlers: LocalHandlers): Promise<void> {
  const { method, params } = JSON.parse(await readLine(socket)) as {
    readonly method: string;
    readonly params: JsonValue;
  };
  socket.setTimeout(0);
  const abort = new AbortController();
  socket.once("close", () => abort.abort(new AppError("cancelled", "The caller has left")));
  socket.end(`${JSON.stringify(await handle(handlers, method, params, abort.signal))}\n`);
}

async function handle(
  handlers: LocalHandlers,
  method: string,
  params: JsonValue,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined;
    if (handler === undefined) {
      throw new AppError("unimplemented", `Cannot call ${JSON.stringify(method)}: no such method`);
    }
    return { result: await handler(params, { signal }) };
  } catch (error) {
    const { code, message } = AppError.from(error);
    return { error: { code, message } };
  }
}

/**
 * Calls a method of the process that listens at `path`.
 * @throws AppError what the method threw; `unavailable` if nobody listens, or who does goes away.
 */
export async function callLocal(
  path: string,
  method: string,
  params: JsonValue,
  { signal }: IoOptions = {},
): Promise<JsonValue> {
  signal?.throwIfAborted();
  const socket = createConnection({ path });
  const leave = (): void => void socket.destroy(AppError.from(signal?.reason));
  signal?.addEventListener("abort", leave, { once: true });
  try {
    socket.write(`${JSON.stringify({ method, params })}\n`);
    const reply = JSON.parse(await readLine(socket)) as Answer;
    if ("result" in reply) return reply.result;
    throw new AppError(reply.error.code, reply.error.message);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof AppError) throw error;
    throw callError(path, method, error);
  } finally {
    signal?.removeEventListener("abort", leave);
    socket.destroy();
  }
}

function callError(path: string, method: string, cause: unknown): AppError {
  const state = (cause as NodeJS.ErrnoException).code ?? String(cause);
  const message = `Cannot call ${method} at "${path}": ${state}, want the process to run`;
  return new AppError("unavailable", message, { cause });
}

/** The first line that comes, without its end. */
function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    socket.on("data", (piece: Buffer) => {
      const end = piece.indexOf(0x0a);
      pieces.push(end < 0 ? piece : piece.subarray(0, end));
      sizeBytes += piece.length;
      if (end >= 0) resolve(Buffer.concat(pieces).toString("utf8"));
      else if (sizeBytes > MAX_LINE_BYTES) reject(new Error("its line is too long"));
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("it closed the connection")));
  });
}
