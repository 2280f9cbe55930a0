import { rename, rm, stat } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { AppError, type ErrorCode, type IoOptions, type Logger } from "@soci-ts/core";
import type { JsonValue } from "../mount-record.ts";

/** A request of one process of the node to another. */
export type LocalHandler = (params: JsonValue, options: IoOptions) => Promise<JsonValue>;

/** Methods by name. */
export type LocalHandlers = Readonly<Record<string, LocalHandler>>;

const MAX_REQUEST_BYTES = 2 ** 20;

/** The status of a node with thousands of layers takes some megabytes. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;

/** A caller that neither speaks nor listens is not waited for longer. */
const SILENCE_TIMEOUT_MS = 10_000;

type Answer =
  | { readonly result: JsonValue }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };

/**
 * Answers requests on a Unix socket, mode 0600, one to a connection: the caller sends `{"method", "params"}` as one line, keeps the connection
 * open, and gets one line back. A caller that leaves aborts its handler's signal. A socket that is there is replaced, since whoever
 * calls this holds the root; when this one is closed, the socket of whoever came after it stays.
 */
export async function serveLocalCalls(
  path: string,
  handlers: LocalHandlers,
  logger: Logger,
): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // a caller that left
    socket.setTimeout(SILENCE_TIMEOUT_MS, () => socket.destroy());
    void answer(socket, handlers).catch((error: unknown) => {
      logger.debug("local call not answered", { error: AppError.from(error).message });
      socket.destroy();
    });
  });
  const removeSocket = await listenPrivately(server, path);
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await removeSocket();
    },
  };
}

/**
 * Listens under another name and renames the socket: its mode is right before anyone can find it, there is one at any time, and the server's close,
 * which unlinks the name that it was bound to, can't hit a successor's.
 * @returns what removes the socket, if it is still this one.
 */
async function listenPrivately(server: Server, path: string): Promise<() => Promise<void>> {
  const bound = `${path}.${process.pid}`;
  await rm(bound, { force: true });
  const previous = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(bound, resolve);
    });
  } finally {
    process.umask(previous);
  }
  const { ino } = await stat(bound);
  await rename(bound, path);
  return async () => {
    const there = await stat(path).catch(() => undefined); // gone with its directory
    if (there?.ino === ino) await rm(path, { force: true });
  };
}

async function answer(socket: Socket, handlers: LocalHandlers): Promise<void> {
  const request = JSON.parse(await readLine(socket, MAX_REQUEST_BYTES)) as Partial<{
    readonly method: string;
    readonly params: JsonValue;
  }>;
  socket.setTimeout(0);
  const abort = new AbortController();
  socket.once("close", () => abort.abort(new AppError("cancelled", "The caller has left")));
  const { method = "", params = null } = request;
  const reply = await handle(handlers, method, params, abort.signal);
  socket.setTimeout(SILENCE_TIMEOUT_MS);
  socket.end(`${JSON.stringify(reply)}\n`);
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
 * Calls a method of the process that listens at `path`. It waits for as long as that process takes: one that may hang is called with a signal.
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
    const reply = JSON.parse(await readLine(socket, MAX_ANSWER_BYTES)) as Answer;
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
  const { code, message } = cause as NodeJS.ErrnoException;
  const state = code ?? message;
  return new AppError(
    "unavailable",
    `Cannot call ${method} at "${path}": ${state}, want the process to run`,
    { cause },
  );
}

/** The first line that comes, without its end. What comes after it is thrown away: only who reads notices that the peer has left. */
function readLine(socket: Socket, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    const take = (piece: Buffer): void => {
      const end = piece.indexOf(0x0a);
      pieces.push(end < 0 ? piece : piece.subarray(0, end));
      sizeBytes += pieces.at(-1)?.length ?? 0;
      if (end < 0 && sizeBytes <= maxBytes) return;
      socket.off("data", take).resume();
      if (sizeBytes > maxBytes) reject(new Error(`its line is longer than ${maxBytes} bytes`));
      else resolve(Buffer.concat(pieces).toString("utf8"));
    };
    socket.on("data", take);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("it closed the connection")));
  });
}
