import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { delay } from "@soci-ts/core";

/** A directory for one test, gone with all that is in it when it is disposed of. */
export interface Temporary extends AsyncDisposable {
  readonly path: string;
}

/** Makes an empty directory. */
export async function temporary(): Promise<Temporary> {
  const path = await mkdtemp(join(tmpdir(), "soci-node-"));
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 3 });
  return { path, [Symbol.asyncDispose]: remove };
}

/** Waits until something holds; fails with its name after some seconds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Waited ${timeoutMs} ms in vain: ${what}`);
    await delay(10);
  }
}
