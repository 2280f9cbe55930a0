import { once } from "node:events";
import {
  type Client,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
  type sendUnaryData,
  status,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { criImageService, Transport } from "@soci-ts/containerd-api";
import type { BoundService } from "../socket.ts";
import { type PullCredential, pullCredential } from "./pull-credential.ts";

/** CRI's image service, handed on to containerd. The caller closes it after the server that it is bound to. */
export interface CriImageProxy extends AsyncDisposable {
  readonly services: readonly BoundService[];
}

/** How {@link openCriImageProxy} works. */
export interface CriImageProxyOptions {
  /** containerd's socket, where it serves CRI. */
  readonly criSocket: string;
  /** Told of the credential that a PullImage brings, before containerd gets the call. It holds secrets. */
  readonly onCredential: (credential: PullCredential) => void;
}

type RawUnaryCall = ServerUnaryCall<Buffer, Buffer>;
type RawStreamCall = ServerWritableStream<Buffer, Buffer>;

const V1 = "runtime.v1.ImageService";
/** What Kubernetes up to 1.25 speaks, and containerd up to 1.7 answers: the same messages, except that there is no StreamImages. */
const V1ALPHA2 = "runtime.v1alpha2.ImageService";

const raw = (bytes: Buffer): Buffer => bytes;

/**
 * A proxy of CRI's image service, so that kubelet's credentials get known: its image endpoint points here, and every call goes to
 * containerd as it came, bytes, headers and deadline; so does the answer. Fields that this project's `proto/` does not know
 * pass. Nothing is logged, and nothing is remembered here.
 * @throws AppError `invalid_argument` if no socket can have the path.
 */
export function openCriImageProxy(options: CriImageProxyOptions): CriImageProxy {
  const transport = new Transport(options.criSocket);
  return {
    services: [V1, V1ALPHA2].map((name) => forward(name, transport.client, options)),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

function forward(name: string, client: Client, options: CriImageProxyOptions): BoundService {
  const known = criImageService().definition;
  const methods = Object.entries(known).map(([method, { responseStream }]) => {
    const path = `/${name}/${method}`;
    const definition = {
      path,
      requestStream: false,
      responseStream,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    };
    const look = (request: Buffer): void => {
      const credential = method === "PullImage" ? pullCredential(request) : undefined;
      if (credential !== undefined) options.onCredential(credential);
    };
    const handler = responseStream ? forwardStream(client, path) : forwardUnary(client, path, look);
    return { method, definition, handler };
  });
  return {
    definition: Object.fromEntries(
      methods.map(({ method, definition }) => [method, definition]),
    ) as ServiceDefinition,
    implementation: Object.fromEntries(methods.map(({ method, handler }) => [method, handler])),
  };
}

function forwardUnary(
  client: Client,
  path: string,
  look: (request: Buffer) => void,
): UntypedHandleCall {
  return (call: RawUnaryCall, callback: sendUnaryData<Buffer>): void => {
    look(call.request);
    const onward = client.makeUnaryRequest(
      path,
      raw,
      raw,
      call.request,
      call.metadata,
      { deadline: call.getDeadline() },
      (error, response) => callback(error === null ? null : statusOf(error), response),
    );
    call.once("cancelled", () => onward.cancel());
  };
}

function forwardStream(client: Client, path: string): UntypedHandleCall {
  return (call: RawStreamCall): void => {
    const onward = client.makeServerStreamRequest(path, raw, raw, call.request, call.metadata, {
      deadline: call.getDeadline(),
    });
    const cancelled = new AbortController();
    call.once("cancelled", () => {
      cancelled.abort();
      onward.cancel();
    });
    sendAll(call, onward, cancelled.signal).catch((error: Partial<ServiceError>) => {
      // The way in which grpc-js takes the status of a stream.
      call.emit("error", statusOf(error));
    });
  };
}

async function sendAll(
  call: RawStreamCall,
  source: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  for await (const message of source) {
    if (!call.write(message)) await once(call, "drain", { signal });
  }
  call.end();
}

/** containerd's own status, which kubelet reads codes and details from; it must not become one of ours. Without one it is our own abort. */
function statusOf({ code, details, metadata }: Partial<ServiceError>): Partial<StatusObject> {
  return {
    code: typeof code === "number" ? code : status.CANCELLED,
    details: details ?? "",
    ...(metadata === undefined ? {} : { metadata }),
  };
}
