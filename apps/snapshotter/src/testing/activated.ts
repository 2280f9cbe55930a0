// A daemon that systemd activated, as far as sockets go: serves at descriptor 3 until SIGTERM.
import { once } from "node:events";
import { snapshotsService } from "@soci-ts/containerd-api";
import { snapshotsHandlers } from "../services/snapshots.ts";
import { serveAtSocket } from "../socket.ts";
import { MemorySnapshots } from "./memory-snapshots.ts";

const { definition } = snapshotsService();
const implementation = snapshotsHandlers(new MemorySnapshots());
const server = await serveAtSocket({ kind: "descriptor", fd: 3 }, [{ definition, implementation }]);
process.stdout.write(`${process.pid}\n`);
await once(process, "SIGTERM");
await server[Symbol.asyncDispose]();
process.stdout.write("closed\n");
