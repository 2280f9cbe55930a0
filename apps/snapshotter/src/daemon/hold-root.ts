import { once } from "node:events";
import { createServer } from "node:net";
import { AppError } from "@soci-ts/core";
import { bindSocketFile, removeSocketFile } from "../socket-file.ts";

/**
 * Makes this process the only one of its kind on a root, for as long as it lives: it listens at a socket, which ends with the process however
 * that ends.
 * @throws AppError `failed_precondition` if another one does.
 */
export async function holdRoot(root: string, socket: string): Promise<AsyncDisposable> {
  const listener = createServer((peer) => peer.destroy());
  const identity = await bindSocketFile(listener, socket).catch((error: unknown) => {
    throw heldError(root, AppError.from(error));
  });
  return {
    async [Symbol.asyncDispose]() {
      await removeSocketFile(socket, identity);
      const ended = once(listener, "close");
      listener.close();
      await ended;
    },
  };
}

function heldError(root: string, cause: AppError): AppError {
  const message = `Cannot use "${root}": ${cause.message}; want one daemon for each root`;
  return new AppError(cause.code, message, { cause });
}
