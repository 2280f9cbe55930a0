import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";

/** A server for a test, on a socket of its own. */
export interface TestServer extends AsyncDisposable {
  readonly socketPath: string;
}

/** Serves one service until it is closed. */
export async function serve(
  definition: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), "soci-grpc-"));
  const socketPath = join(folder, "s.sock");
  const server = new Server();
  server.addService(definition, implementation);
  await promisify(server.bindAsync.bind(server))(
    `unix:${socketPath}`,
    ServerCredentials.createInsecure(),
  );
  return {
    socketPath,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
