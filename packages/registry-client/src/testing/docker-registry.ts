import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, startChild, stopChild } from "@soci-ts/testkit";
import type { Certificate } from "./certificates.ts";

/** The user of a {@link startSecuredRegistry}. */
export const REGISTRY_USER = { username: "me", password: "registry-pass" } as const;
/** bcrypt of that password: `perl -e 'print crypt("registry-pass", "\$2y\$05\$abcdefghijklmnopqrstuu")'`. */
const HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuuPjvWZA9Te8qmmwSCy0c40HUw16Nv/I6\n";

/** A docker-registry that runs on the loopback. */
export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
}

/** Starts Debian's docker-registry with TLS and a login (testkit starts the plain one). */
export async function startSecuredRegistry(certificate: Certificate): Promise<DockerRegistry> {
  return start(async (root, port) => {
    await writeFile(join(root, "htpasswd"), HTPASSWD);
    return [
      `auth: {htpasswd: {realm: test, path: ${root}/htpasswd}}`,
      `http: {addr: "127.0.0.1:${port}", tls: {certificate: ${certificate.certFile}, key: ${certificate.keyFile}}}`,
    ];
  });
}

/** Starts a docker-registry that fetches what it does not have from the one at `origin`. */
export async function startPullThroughCache(origin: string): Promise<DockerRegistry> {
  return start(async (_root, port) => [
    `proxy: {remoteurl: "http://${origin}"}`,
    `http: {addr: "127.0.0.1:${port}"}`,
  ]);
}

async function start(
  configure: (root: string, port: number) => Promise<readonly string[]>,
): Promise<DockerRegistry> {
  const root = await mkdtemp(join(tmpdir(), "docker-registry-"));
  const port = await freePort();
  const config = join(root, "config.yml");
  const lines = [
    "version: 0.1",
    "log: {level: error, accesslog: {disabled: true}}",
    `storage: {filesystem: {rootdirectory: ${root}/data}}`,
    ...(await configure(root, port)),
    "",
  ];
  await writeFile(config, lines.join("\n"));
  const child = startChild("docker-registry", ["serve", config], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const close = async (): Promise<void> => {
    await stopChild(child);
    await rm(root, { recursive: true, force: true });
  };
  const deadline = Date.now() + 20_000;
  while (!(await isListening(port))) {
    if (Date.now() > deadline || child.exitCode !== null) {
      await close();
      throw new Error("Cannot start docker-registry: nothing listens");
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { host: `127.0.0.1:${port}`, [Symbol.asyncDispose]: close };
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
