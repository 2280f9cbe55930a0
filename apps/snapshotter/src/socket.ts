import { once } from "node:events";
import { createServer, type Server as Listener } from "node:net";
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { AppError } from "@soci-ts/core";
import { MAX_REQUEST_BYTES } from "./services/limits.ts";
import { bindSocketFile, removeSocketFile } from "./socket-file.ts";

/** Where to listen: at a path, or at a listening socket that is open already (systemd's). */
export type SocketPlace =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "descriptor"; readonly fd: number };

/** A gRPC service with what answers its calls. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** Time that calls under way get when the socket is closed. */
const DRAIN_MS = 5000;

/**
 * Serves gRPC at a Unix socket that is ours. grpc-js can't do this by itself: its socket has mode 0755, is not taken over from systemd,
 * and is in the way of the next start after a crash. At a path only root can connect. Closing refuses new connections, removes the
 * socket's file if it is still ours (systemd's stays), and ends when calls under way have, or after 5 s.
 * @throws AppError `failed_precondition` if another daemon listens there, or it is no Unix socket; `invalid_argument` for a
 * path that no socket can have.
 */
export async function serveAtSocket(
  place: SocketPlace,
  services: readonly BoundService[],
): Promise<AsyncDisposable> {
  const server = new Server({ "grpc.max_receive_message_length": MAX_REQUEST_BYTES });
  for (const { definition, implementation } of services) {
    server.addService(definition, implementation);
  }
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((socket) => injector.injectConnection(socket));
  const unbind = await bind(listener, place);
  const close = async (): Promise<void> => {
    await unbind();
    const ended = once(listener, "close");
    listener.close();
    injector.drain(DRAIN_MS);
    await ended;
    server.forceShutdown();
  };
  let closed: Promise<void> | undefined;
  return {
    async [Symbol.asyncDispose]() {
      closed ??= close();
      await closed;
    },
  };
}

/** Makes `listener` listen, and answers what takes its file away. */
async function bind(listener: Listener, place: SocketPlace): Promise<() => Promise<void>> {
  if (place.kind === "path") {
    const identity = await bindSocketFile(listener, place.path);
    return () => removeSocketFile(place.path, identity);
  }
  try {
    listener.listen({ fd: place.fd });
    await once(listener, "listening");
  } catch (error) {
    throw unfit(place.fd, AppError.from(error).message, error);
  }
  // A TCP port would be open to every user of the machine. Only of such a one Node knows the address.
  const address = listener.address();
  if (address !== null && typeof address === "object") {
    listener.close();
    throw unfit(place.fd, `it is port ${address.port}`);
  }
  return async () => {};
}

function unfit(fd: number, state: string, cause?: unknown): AppError {
  return new AppError(
    "failed_precondition",
    `Cannot listen at descriptor ${fd}: ${state}, want a listening Unix socket`,
    { cause },
  );
}
