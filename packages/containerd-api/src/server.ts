import { once } from "node:events";
import type {
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { AppError } from "@soci-ts/core";
import { methodKey, type Rpc, type Sendable, type Service } from "./service.ts";
import { statusOfError } from "./status.ts";

/** What is known of a call besides its message. */
export interface CallContext {
  /** Aborted when the caller goes away, or its deadline passes. */
  readonly signal: AbortSignal;
  /** containerd's namespace, where the caller says it: containerd 1.6 does not when it calls proxy snapshotters. */
  readonly namespace: string | undefined;
}

/** One procedure as the server has it. What it throws goes out by `statusOfError`. */
export type Handler<Method> =
  Method extends Rpc<infer Shape, infer Request, infer Response>
    ? Shape extends "unary"
      ? (request: Request, context: CallContext) => Promise<Sendable<Response>>
      : Shape extends "server-stream"
        ? (request: Request, context: CallContext) => AsyncIterable<Sendable<Response>>
        : never
    : never;

/** A whole service as the server has it. */
export type Handlers<Methods> = { readonly [Name in keyof Methods]: Handler<Methods[Name]> };

/** Told of each call that fails, before the caller is. */
export type FailureListener = (method: string, error: AppError) => void;

type UnaryHandler = (request: object, context: CallContext) => Promise<object>;
type StreamHandler = (request: object, context: CallContext) => AsyncIterable<object>;

/** Binds handlers to a service, for `Server.addService(service.definition, …)` of grpc-js. A stream's source is asked for no more than the caller takes. */
export function implementService<Methods>(
  service: Service<Methods>,
  handlers: Handlers<Methods>,
  onFailure: FailureListener = () => {},
): UntypedServiceImplementation {
  const byName = handlers as Readonly<Record<string, unknown>>;
  const entries = Object.entries(service.definition).map(([name, method]) => {
    const handler = byName[methodKey(name)];
    const fail = (error: unknown): ReturnType<typeof statusOfError> => {
      onFailure(method.path, AppError.from(error));
      return statusOfError(error);
    };
    const bound = method.responseStream
      ? bindStream(handler as StreamHandler, fail)
      : bindUnary(handler as UnaryHandler, fail);
    return [name, bound];
  });
  return Object.fromEntries(entries) as UntypedServiceImplementation;
}

type Fail = (error: unknown) => ReturnType<typeof statusOfError>;

function bindUnary(handler: UnaryHandler, fail: Fail): UntypedHandleCall {
  return (call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>): void => {
    const run = async (): Promise<object> => handler(call.request, contextOf(call));
    run().then(
      (response) => callback(null, response),
      (error: unknown) => callback(fail(error)),
    );
  };
}

function bindStream(handler: StreamHandler, fail: Fail): UntypedHandleCall {
  return (call: ServerWritableStream<object, object>): void => {
    sendAll(call, handler).catch((error: unknown) => {
      // The way in which grpc-js takes the status of a stream.
      call.emit("error", fail(error));
    });
  };
}

async function sendAll(
  call: ServerWritableStream<object, object>,
  handler: StreamHandler,
): Promise<void> {
  const context = contextOf(call);
  for await (const response of handler(call.request, context)) {
    context.signal.throwIfAborted();
    if (!call.write(response)) await once(call, "drain", { signal: context.signal });
  }
  call.end();
}

function contextOf(
  call: ServerUnaryCall<object, object> | ServerWritableStream<object, object>,
): CallContext {
  const controller = new AbortController();
  call.once("cancelled", () => controller.abort());
  if (call.cancelled) controller.abort();
  const [namespace] = call.metadata.get("containerd-namespace");
  return {
    signal: controller.signal,
    namespace: namespace === undefined ? undefined : String(namespace),
  };
}
