import { once } from "node:events";
import type { ClientDuplexStream, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";
import { AppError } from "@soci-ts/core";
import { methodKey, type Rpc, type Sendable, type Service } from "./service.ts";
import { errorOfStatus } from "./status.ts";
import type { CallOptions, Transport } from "./transport.ts";

/** One procedure as a function. Failures are AppErrors by the peer's status; aborted ones are `cancelled`. */
export type ClientMethod<Method> =
  Method extends Rpc<infer Shape, infer Request, infer Response>
    ? Shape extends "unary"
      ? (request: Sendable<Request>, options?: CallOptions) => Promise<Response>
      : Shape extends "server-stream"
        ? (request: Sendable<Request>, options?: CallOptions) => AsyncIterable<Response>
        : (
            requests: AsyncIterable<Sendable<Request>>,
            options?: CallOptions,
          ) => AsyncIterable<Response>
    : never;

/** A service as functions. A stream's call starts when it is first read from, and is cancelled when reading stops early. */
export type ServiceClient<Methods> = {
  readonly [Name in keyof Methods]: ClientMethod<Methods[Name]>;
};

type Method = MethodDefinition<object, object>;

/** A client of a service. It needs no closing; the transport does. */
export function createClient<Methods>(
  service: Service<Methods>,
  transport: Transport,
): ServiceClient<Methods> {
  const entries = Object.entries(service.definition).map(([name, method]) => [
    methodKey(name),
    caller(transport, method),
  ]);
  // The generated types and the definition come from the same file.
  return Object.fromEntries(entries) as ServiceClient<Methods>;
}

function caller(transport: Transport, method: Method): unknown {
  if (method.requestStream) {
    return (requests: AsyncIterable<object>, options: CallOptions = {}) =>
      callDuplex(transport, method, requests, options);
  }
  return method.responseStream
    ? (request: object, options: CallOptions = {}) =>
        callStream(transport, method, request, options)
    : (request: object, options: CallOptions = {}) =>
        callUnary(transport, method, request, options);
}

async function callUnary(
  transport: Transport,
  method: Method,
  request: object,
  options: CallOptions,
): Promise<object> {
  throwIfAborted(options, method);
  return new Promise((resolve, reject) => {
    const call = transport.client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      transport.metadata(options),
      { deadline: transport.deadline(options) },
      (error, response) => {
        options.signal?.removeEventListener("abort", cancel);
        if (error !== null) reject(errorOfStatus(error, method.path));
        else if (response === undefined) reject(new AppError("internal", noAnswer(method)));
        else resolve(response);
      },
    );
    const cancel = (): void => call.cancel();
    options.signal?.addEventListener("abort", cancel);
  });
}

async function* callStream(
  transport: Transport,
  method: Method,
  request: object,
  options: CallOptions,
): AsyncIterable<object> {
  throwIfAborted(options, method);
  const call = transport.client.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    transport.metadata(options),
    { deadline: transport.deadline(options) },
  );
  try {
    yield* responses(call, options);
  } catch (error) {
    throw toAppError(error, method);
  }
}

async function* callDuplex(
  transport: Transport,
  method: Method,
  requests: AsyncIterable<object>,
  options: CallOptions,
): AsyncIterable<object> {
  throwIfAborted(options, method);
  const call = transport.client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    transport.metadata(options),
    { deadline: transport.deadline(options) },
  );
  const ended = new AbortController();
  const failure: { error?: unknown } = {};
  // Not waited for: when the peer ends first, the source of requests may be waiting for something of its own.
  sendAll(call, requests, ended.signal).catch((error: unknown) => {
    if (!ended.signal.aborted) failure.error = error;
    call.cancel();
  });
  try {
    yield* responses(call, options);
  } catch (error) {
    throw toAppError(failure.error ?? error, method);
  } finally {
    ended.abort();
  }
}

async function sendAll(
  call: ClientDuplexStream<object, object>,
  requests: AsyncIterable<object>,
  signal: AbortSignal,
): Promise<void> {
  for await (const request of requests) {
    signal.throwIfAborted();
    if (!call.write(request)) await once(call, "drain", { signal });
  }
  call.end();
}

async function* responses(
  call: ClientReadableStream<object>,
  options: CallOptions,
): AsyncIterable<object> {
  const cancel = (): void => call.cancel();
  options.signal?.addEventListener("abort", cancel);
  // A status that arrives when nobody reads any more is emitted all the same, and would end the process.
  call.on("error", () => {});
  try {
    yield* call;
  } finally {
    options.signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

function toAppError(error: unknown, method: Method): AppError {
  return isServiceError(error) ? errorOfStatus(error, method.path) : AppError.from(error);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "details" in error && "code" in error;
}

function throwIfAborted(options: CallOptions, method: Method): void {
  if (options.signal?.aborted !== true) return;
  throw new AppError("cancelled", `Cannot call ${method.path}: it was aborted before`, {
    cause: options.signal.reason,
  });
}

function noAnswer(method: Method): string {
  return `Cannot call ${method.path}: the answer is neither a message nor an error`;
}
