import { loadSync, type ServiceDefinition } from "@grpc/proto-loader";
import { AppError } from "@soci-ts/core";
import { LOADER_OPTIONS, PROTO_FILES } from "./proto-files.ts";

/** How many messages a call has: one each way, one and a stream, or a stream each way. */
export type RpcShape = "unary" | "server-stream" | "duplex";

/** The type of one remote procedure; generated services are made of these. There are no values of it. */
export interface Rpc<Shape extends RpcShape, Request, Response> {
  readonly shape: Shape;
  readonly request: Request;
  readonly response: Response;
}

/** A message as it may be sent: what is left out takes its default. */
export type Sendable<T> = T extends Uint8Array
  ? Uint8Array
  : T extends readonly (infer Item)[]
    ? readonly Sendable<Item>[]
    : T extends object
      ? string extends keyof T
        ? { readonly [Key in keyof T]: Sendable<T[Key]> }
        : { readonly [Key in keyof T]?: Sendable<T[Key]> | undefined }
      : T;

/** A service that can be called or served. `Methods` is its generated interface. */
export interface Service<Methods> {
  /** Full name: package and service. */
  readonly name: string;
  readonly definition: ServiceDefinition;
  /** Only there for the compiler, never set. */
  readonly methods?: Methods;
}

const loaded = new Map<string, Service<unknown>>();

/**
 * Loads a service from `proto/`; again the same one when asked again. Some 10 ms, synchronous.
 * @param name - full name, package and service.
 */
export function loadService<Methods>(
  file: keyof typeof PROTO_FILES,
  name: string,
): Service<Methods> {
  const known = loaded.get(name);
  if (known !== undefined) return known as Service<Methods>;
  const found = loadSync(PROTO_FILES[file], LOADER_OPTIONS)[name];
  if (found === undefined || "format" in found) {
    throw new AppError(
      "internal",
      `Cannot load service ${name}: it is not in ${PROTO_FILES[file]}`,
    );
  }
  const service: Service<Methods> = { name, definition: found as ServiceDefinition };
  loaded.set(name, service);
  return service;
}

/** What a method is called in TypeScript: `RunPodSandbox` is `runPodSandbox`. */
export function methodKey(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
