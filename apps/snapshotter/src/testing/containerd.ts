import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { delay } from "@soci-ts/core";
import { command, startChild, stopChild } from "@soci-ts/testkit";

/** A containerd of a test's own, CRI included, with one proxy snapshotter. */
export interface ProxyContainerd extends AsyncDisposable {
  readonly socket: string;
  /** Runs ctr in namespace `test`, and answers what it prints. */
  ctr(...args: string[]): Promise<string>;
}

const START_TIMEOUT_MS = 20_000;

/** Starts Debian's containerd; it finds the snapshotter `name` behind `snapshotterSocket`. */
export async function startProxyContainerd(
  name: string,
  snapshotterSocket: string,
): Promise<ProxyContainerd> {
  const root = await mkdtemp(join(tmpdir(), "soci-ctrd-"));
  const socket = join(root, "c.sock");
  const config = join(root, "config.toml");
  await writeFile(config, configText(root, name, snapshotterSocket));
  const log = join(root, "log");
  const child = startChild(
    "/bin/sh",
    ["-c", 'exec containerd --config "$0" --log-level warn 2>"$1"', config, log],
    { stdio: "ignore" },
  );
  const ctr = async (...args: string[]): Promise<string> =>
    (await command("ctr", ["--address", socket, "--namespace", "test", ...args])).stdout;
  const stop = async (): Promise<void> => {
    await stopChild(child);
    await rm(root, { recursive: true, force: true });
  };
  try {
    await until(() => ctr("version"));
  } catch (error) {
    const text = await readFile(log, "utf8").catch(() => "no log");
    await stop();
    throw new Error(`containerd does not start: ${text.slice(-2000)}`, { cause: error });
  }
  return { socket, ctr, [Symbol.asyncDispose]: stop };
}

function configText(root: string, name: string, snapshotterSocket: string): string {
  return `version = 2
root = "${root}/root"
state = "${root}/state"
[grpc]
  address = "${root}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_port = "0"
[proxy_plugins.${name}]
  type = "snapshot"
  address = "${snapshotterSocket}"
`;
}

async function until(attempt: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(100);
    }
  }
}
