import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { lstat, mkdir, readdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openContainerd, snapshotsService } from "@soci-ts/containerd-api";
import { DisposeStack, delay } from "@soci-ts/core";
import { snapshotsHandlers } from "./services/snapshots.ts";
import { type BoundService, type SocketPlace, serveAtSocket } from "./socket.ts";
import { MemorySnapshots } from "./testing/memory-snapshots.ts";
import { temporaryDirectory } from "./testing/temporary.ts";

function bound(service = new MemorySnapshots()): BoundService {
  return {
    definition: snapshotsService().definition,
    implementation: snapshotsHandlers(service),
  };
}

const serve = (place: SocketPlace): Promise<AsyncDisposable> => serveAtSocket(place, [bound()]);

async function answers(path: string): Promise<boolean> {
  await using containerd = openContainerd(path, { namespace: "default" });
  await containerd.snapshots.prepare({ key: `k${Math.random()}` });
  return true;
}

test("serveAtSocket() makes the directory and a socket that only root may use, and takes it away", async () => {
  await using stack = new DisposeStack();
  const folder = join(await temporaryDirectory(stack), "run", "soci");
  const path = join(folder, "s.sock");
  const server = await serve({ kind: "path", path });
  assert.equal(permissions(await lstat(path)), "600");
  assert.equal(permissions(await lstat(folder)), "700");
  assert.ok(await answers(path));
  await server[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  assert.deepEqual(await readdir(folder), []);
});

test("serveAtSocket() is reachable by nobody before the socket has its mode", async () => {
  await using stack = new DisposeStack();
  const folder = await temporaryDirectory(stack);
  const path = join(folder, "s.sock");
  const starting = serve({ kind: "path", path });
  let isStarted = false;
  const started = starting.finally(() => {
    isStarted = true;
  });
  const modes = new Set<string>();
  while (!isStarted) {
    for (const name of await readdir(folder)) {
      const stats = await lstat(join(folder, name)).catch(() => undefined);
      if (stats !== undefined) modes.add(permissions(stats));
    }
  }
  stack.use(await started);
  assert.deepEqual([...modes].sort(), ["600", "700"]);
});

test("serveAtSocket() replaces the socket of a daemon that was killed", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  await leaveStaleSocket(path);
  assert.ok((await lstat(path)).isSocket());
  stack.use(await serve({ kind: "path", path }));
  assert.ok(await answers(path));
});

test("serveAtSocket() refuses a socket where somebody listens, and leaves it alone", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  stack.use(await serve({ kind: "path", path }));
  await assert.rejects(serve({ kind: "path", path }), {
    code: "failed_precondition",
    message: /another daemon listens there/,
  });
  assert.ok(await answers(path));
});

test("of two that start at the same time, one serves and the other says why not", async () => {
  await using stack = new DisposeStack();
  const folder = await temporaryDirectory(stack);
  const path = join(folder, "s.sock");
  const results = await Promise.allSettled([
    serve({ kind: "path", path }),
    serve({ kind: "path", path }),
  ]);
  const servers = results.flatMap((result) =>
    result.status === "fulfilled" ? [stack.use(result.value)] : [],
  );
  const reasons = results.flatMap((result) =>
    result.status === "rejected" ? [(result.reason as { code: string }).code] : [],
  );
  assert.equal(servers.length, 1);
  assert.deepEqual(reasons, ["failed_precondition"]);
  assert.ok(await answers(path));
  assert.deepEqual(await readdir(folder), ["s.sock"]);
});

test("serveAtSocket() deletes nothing that is not a socket", async () => {
  await using stack = new DisposeStack();
  const folder = await temporaryDirectory(stack);
  const file = join(folder, "file");
  await writeFile(file, "precious");
  const directory = join(folder, "directory");
  await mkdir(directory);
  const link = join(folder, "link");
  await symlink(join(folder, "nowhere"), link);
  for (const path of [file, directory, link]) {
    await assert.rejects(serve({ kind: "path", path }), {
      code: "failed_precondition",
      message: /not a socket/,
    });
  }
  assert.equal(await readFile(file, "utf8"), "precious");
  assert.deepEqual((await readdir(folder)).sort(), ["directory", "file", "link"]);
});

test("serveAtSocket() refuses paths that no socket can have", async () => {
  const tooLong = `/${"x".repeat(98)}/12345678`;
  for (const path of ["s.sock", tooLong, `/tmp/${"é".repeat(52)}`]) {
    await assert.rejects(serve({ kind: "path", path }), { code: "invalid_argument" });
  }
});

test("closing leaves a socket that a successor put there", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  const first = await serve({ kind: "path", path });
  await rename(path, `${path}.old`);
  stack.use(await serve({ kind: "path", path }));
  await first[Symbol.asyncDispose]();
  assert.ok(await answers(path));
});

test("a client finds a daemon that was restarted, by itself and soon", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  const { snapshots } = stack.use(openContainerd(path, { namespace: "default" }));
  const first = await serve({ kind: "path", path });
  await snapshots.prepare({ key: "a" });
  await first[Symbol.asyncDispose]();
  await assert.rejects(snapshots.prepare({ key: "b" }), { code: "unavailable" });
  stack.use(await serve({ kind: "path", path }));
  const deadline = Date.now() + 3000;
  while (!(await works(() => snapshots.cleanup({})))) assert.ok(Date.now() < deadline);
});

test("closing lets calls under way end", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  let arrived = (): void => {};
  const arrival = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  class Slow extends MemorySnapshots {
    override async cleanup(): Promise<void> {
      arrived();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const server = await serveAtSocket({ kind: "path", path }, [bound(new Slow())]);
  const { snapshots } = stack.use(openContainerd(path, { namespace: "default" }));
  const call = snapshots.cleanup({});
  await arrival;
  await server[Symbol.asyncDispose]();
  assert.deepEqual(await call, {});
});

test("serveAtSocket() takes over a socket that is open, and leaves its file to its owner", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "s.sock");
  // Stands for systemd: listens, starts the daemon with the descriptor, and goes without closing it.
  const script = `
    const server = require("node:net").createServer().listen(process.argv[1], () => {
      const stdio = ["inherit", "inherit", "inherit", server._handle.fd];
      require("node:child_process").spawn(process.execPath, [process.argv[2]], { stdio, detached: true });
      process.kill(process.pid, "SIGKILL");
    });`;
  const daemon = fileURLToPath(new URL("testing/activated.js", import.meta.url));
  const child = spawn(process.execPath, ["-e", script, path, daemon], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const pid = Number((await lines.next()).value);
  const stop = (): boolean => process.kill(pid, "SIGTERM");
  stack.defer(() => {
    if (existsSync(`/proc/${pid}`)) stop();
  });
  assert.ok(await answers(path));
  stop();
  assert.equal((await lines.next()).value, "closed");
  assert.ok((await lstat(path)).isSocket());
});

test("serveAtSocket() refuses a descriptor that is a port, or nothing", async () => {
  await using stack = new DisposeStack();
  const port = await listening(stack);
  for (const fd of [descriptorOf(port), 999_999]) {
    await assert.rejects(serve({ kind: "descriptor", fd }), { code: "failed_precondition" });
  }
});

async function works(attempt: () => Promise<unknown>): Promise<boolean> {
  try {
    await attempt();
    return true;
  } catch {
    // Not yet: asked again after a moment.
    await delay(20);
    return false;
  }
}

function permissions({ mode }: { mode: number }): string {
  return (mode % 0o1000).toString(8);
}

async function listening(stack: DisposeStack): Promise<Server> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => {
    server.close();
  });
  return server;
}

function descriptorOf(server: Server): number {
  return (server as unknown as { _handle: { fd: number } })._handle.fd;
}

async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", script, path]), "exit");
}
