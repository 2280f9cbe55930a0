import { writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { AppError, type Logger } from "@soci-ts/core";
import {
  bindMount,
  closeUserNamespace,
  idMapMount,
  openUserNamespace,
  parseIdRanges,
  unmount,
} from "@soci-ts/linux";
import type { IdMapping } from "../contract/types.ts";
import { mountErofsLayer, preloadFile } from "../erofs-mount.ts";
import type { HelperMessage, HelperRequest } from "./mount-helper-protocol.ts";

/**
 * The main of a helper process: does what standard input asks for, a request after the other, until that closes. Never returns. It ends by SIGKILL to
 * itself, since a read that waits for a dead FUSE would keep it from ending otherwise, and heeds no other signal than the daemon's end: the daemon
 * unmounts with it while it shuts down.
 */
export async function runMountHelper(): Promise<never> {
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
  process.on("uncaughtException", die); // the daemon sees that it ended
  process.on("unhandledRejection", die);
  const namespaces = new UserNamespaces();
  for await (const line of createInterface({ input: process.stdin })) {
    say(await answer(JSON.parse(line) as HelperRequest, namespaces));
  }
  return die();
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is delivered before the call returns; the loop is for the type checker.
  for (;;);
}

async function answer(request: HelperRequest, namespaces: UserNamespaces): Promise<HelperMessage> {
  try {
    await perform(request, namespaces);
    return { kind: "done" };
  } catch (error) {
    const { code, message, details } = AppError.from(error);
    return { kind: "failed", code, message, details };
  }
}

async function perform(request: HelperRequest, namespaces: UserNamespaces): Promise<void> {
  switch (request.kind) {
    case "mountErofs":
      return await mountErofsLayer(request.layer, warnings);
    case "bind":
      return await bindMount(request.source, request.target, request.flags);
    case "unmount":
      return await unmountIfMounted(request.target, request.detach);
    case "idMap":
      await mkdir(request.target, { recursive: true, mode: 0o700 });
      return idMapMount(request.source, request.target, await namespaces.get(request.mapping));
    case "preload":
      return await preloadFile(request.path);
  }
}

async function unmountIfMounted(target: string, detach: boolean): Promise<void> {
  try {
    await unmount(target, { detach });
  } catch (error) {
    const errno = String(AppError.from(error).details["errno"]);
    if (!["EINVAL", "ENOENT"].includes(errno)) throw error;
  }
}

/** More mappings than a node has at a time: each pod with a user namespace has one. */
const MAX_NAMESPACES = 64;

/** User namespaces that were made last, by their mapping: one costs a process, and each layer of a container wants the same. */
class UserNamespaces {
  readonly #open = new Map<string, number>();

  async get(mapping: IdMapping): Promise<number> {
    const key = JSON.stringify([mapping.uids, mapping.gids]);
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const [oldest] = this.#open;
    if (oldest !== undefined && this.#open.size >= MAX_NAMESPACES) {
      this.#open.delete(oldest[0]);
      closeUserNamespace(oldest[1]);
    }
    const ranges = { uids: parseIdRanges(mapping.uids), gids: parseIdRanges(mapping.gids) };
    const opened = await openUserNamespace(ranges);
    this.#open.set(key, opened);
    return opened;
  }
}

function say(message: HelperMessage): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

const ignore = (): void => {};

/** Hands warnings on to the daemon's log. */
const warnings: Logger = {
  debug: ignore,
  info: ignore,
  warn: (message, fields = {}) => say({ kind: "warning", message, fields }),
  error: (message, fields = {}) => say({ kind: "warning", message, fields }),
  child: () => warnings,
};
