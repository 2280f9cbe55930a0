// The project's registry service before another registry, as a program with a configuration file.
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { DisposeStack } from "@soci-ts/core";
import { startChild, stopChild } from "@soci-ts/testkit";

const PROGRAM = fileURLToPath(
  new URL("../../../apps/referrers/bin/soci-referrers.js", import.meta.url),
);

/** A companion that runs. */
export interface CompanionService extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly pid: number;
  /** Resolves when everything that was begun is in the cache. */
  settled(): Promise<void>;
}

/** Starts a companion before the registry at `upstream` (`host:port`), which references call `name`. */
export async function startCompanionService(
  name: string,
  upstream: string,
): Promise<CompanionService> {
  await using resources = new DisposeStack();
  const root = await mkdtemp(join(tmpdir(), "soci-companion-"));
  resources.defer(() => rm(root, { recursive: true, force: true }));
  const config = join(root, "config.toml");
  await writeFile(config, `[[upstreams]]\nname = "${name}"\nurl = "http://${upstream}"\n`);
  const args = ["--config", config, "--root", join(root, "data"), "--listen", "127.0.0.1:0"];
  const child = startChild(process.execPath, [PROGRAM, ...args, "--log-level", "warn"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  resources.defer(() => stopChild(child));
  const exited = once(child, "exit");
  if (child.stdout === null) throw new Error("Cannot read what the companion says");
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    exited,
  ])) as [unknown];
  const host = /^listening on http:\/\/(\S+)$/.exec(String(line))?.[1];
  if (host === undefined) throw new Error(`Cannot start the companion: ${String(line)}`);
  const running = resources.move();
  return {
    host,
    pid: child.pid ?? 0,
    async settled() {
      const partial = join(root, "data", "upstream-cache", "partial");
      while ((await readdir(partial)).length > 0) await new Promise((done) => setTimeout(done, 50));
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
