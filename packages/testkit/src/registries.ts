import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, startChild, stopChild } from "./process.ts";

/** A registry that runs as a child process on the loopback. */
export interface RunningRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** The folder that holds its data. */
  readonly root: string;
  readonly pid: number;
}

const EMBEDDED_PROGRAM = fileURLToPath(
  new URL("../../../apps/referrers/bin/soci-referrers.js", import.meta.url),
);

/** Where a registry keeps its data and listens; by default a fresh folder, removed on close, and a free port. */
export interface RegistryOptions {
  readonly root?: string;
  readonly port?: number;
}

/** Starts the project's own registry (it has the referrers API). */
export async function startEmbeddedRegistry(
  options: RegistryOptions = {},
): Promise<RunningRegistry> {
  const port = options.port ?? (await freePort());
  return start(options, port, async (root) => [
    process.execPath,
    [EMBEDDED_PROGRAM, "--root", root, "--listen", `127.0.0.1:${port}`, "--log-level", "warn"],
  ]);
}

/** Starts Debian's docker-registry (it has no referrers API: `/referrers/` answers 404). */
export async function startDockerRegistry(options: RegistryOptions = {}): Promise<RunningRegistry> {
  const port = options.port ?? (await freePort());
  return start(options, port, async (root) => {
    const config = join(root, "config.yml");
    await writeFile(
      config,
      [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        `storage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: true}}`,
        `http: {addr: "127.0.0.1:${port}"}`,
        "",
      ].join("\n"),
    );
    return ["docker-registry", ["serve", config]];
  });
}

async function start(
  options: RegistryOptions,
  port: number,
  program: (root: string) => Promise<[string, string[]]>,
): Promise<RunningRegistry> {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), "soci-registry-")));
  await mkdir(root, { recursive: true });
  const [file, args] = await program(root);
  const child = startChild(file, args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
  });
  const close = async (): Promise<void> => {
    await stopChild(child);
    if (options.root === undefined) await rm(root, { recursive: true, force: true });
  };
  try {
    await answering(`http://127.0.0.1:${port}/v2/`, () => child.exitCode === null);
  } catch (error) {
    await close();
    throw error;
  }
  return { host: `127.0.0.1:${port}`, root, pid: child.pid ?? 0, [Symbol.asyncDispose]: close };
}

async function answering(url: string, isAlive: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline && isAlive()) {
    const response = await fetch(url).catch(() => undefined);
    await response?.arrayBuffer();
    if (response !== undefined) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`Cannot start the registry: nothing answers at ${url}`);
}
