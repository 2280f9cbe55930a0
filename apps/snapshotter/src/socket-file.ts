import { once } from "node:events";
import type { BigIntStats } from "node:fs";
import { chmod, link, lstat, mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname, join } from "node:path";
import { checkSocketPath } from "@soci-ts/containerd-api/socket-path";
import { AppError } from "@soci-ts/core";

/** Which file a socket is: its device and inode. */
export interface SocketIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

const SOCKET_MODE = 0o600;
/** Long enough for a daemon whose event loop is busy: connecting needs only its kernel. */
const PROBE_TIMEOUT_MS = 2000;
/** What stands for the socket's own name while it is made: "/.XXXXXX/s". */
const PRIVATE_NAME_BYTES = ".XXXXXX/s".length;

/**
 * Makes `server` listen at `path`, which only root may connect to from the first moment on: it is bound in a directory that nobody
 * else can enter, and linked to its place when it has its mode. A stale socket there is replaced. Directories above are made if
 * absent, for root only.
 * @throws AppError `failed_precondition` if somebody listens there, or something else than a socket is there; `invalid_argument`
 * if no socket can have that path.
 */
export async function bindSocketFile(server: Server, path: string): Promise<SocketIdentity> {
  checkPath(path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await removeStaleSocket(path);
  const privateDirectory = await mkdtemp(`${dirname(path)}/.`);
  try {
    const privatePath = join(privateDirectory, "s");
    server.listen(privatePath);
    await once(server, "listening");
    await chmod(privatePath, SOCKET_MODE);
    const identity = await identify(privatePath);
    // Not rename: that would take the place of a daemon that started at the same time.
    await link(privatePath, path);
    return identity;
  } catch (error) {
    server.close();
    throw bindError(path, error);
  } finally {
    await rm(privateDirectory, { recursive: true, force: true });
  }
}

/** Removes the file at `path` if it is still the socket `identity`; otherwise nothing happens. */
export async function removeSocketFile(path: string, identity: SocketIdentity): Promise<void> {
  const current = await lstatOrAbsent(path);
  if (current?.ino !== identity.inode || current.dev !== identity.device) return;
  await rm(path, { force: true });
}

/**
 * Removes a socket that nobody listens at (what a killed daemon leaves). Nothing happens if there is none.
 * @throws AppError `failed_precondition` if somebody listens, or it is no socket.
 */
async function removeStaleSocket(path: string): Promise<void> {
  const stats = await lstatOrAbsent(path);
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new AppError(
      "failed_precondition",
      `Cannot listen at ${JSON.stringify(path)}: it is not a socket, want a socket or nothing there`,
    );
  }
  const answer = await probe(path);
  if (answer === "nobody") return removeSocketFile(path, { device: stats.dev, inode: stats.ino });
  throw new AppError(
    "failed_precondition",
    answer === "somebody"
      ? `Cannot listen at ${JSON.stringify(path)}: another daemon listens there`
      : `Cannot listen at ${JSON.stringify(path)}: whether another daemon listens there can't be told (${answer})`,
  );
}

/** Who listens at a socket: `somebody`, `nobody`, or the error that hides it. */
async function probe(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (text: string): void => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => answer("no answer"));
    socket.once("connect", () => answer("somebody"));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // ENOENT: it went while we looked.
      const isStale = error.code === "ECONNREFUSED" || error.code === "ENOENT";
      answer(isStale ? "nobody" : (error.code ?? error.message));
    });
  });
}

function checkPath(path: string): void {
  checkSocketPath(path);
  checkSocketPath(join(dirname(path), "x".repeat(PRIVATE_NAME_BYTES)));
}

function bindError(path: string, error: unknown): AppError {
  if ((error as NodeJS.ErrnoException).code === "EEXIST") {
    return new AppError(
      "failed_precondition",
      `Cannot listen at ${JSON.stringify(path)}: another daemon started there at the same time`,
      { cause: error },
    );
  }
  const { code, message } = AppError.from(error);
  return new AppError(code, `Cannot listen at ${JSON.stringify(path)}: ${message}`, {
    cause: error,
  });
}

async function identify(path: string): Promise<SocketIdentity> {
  const { dev, ino } = await lstat(path, { bigint: true });
  return { device: dev, inode: ino };
}

async function lstatOrAbsent(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
