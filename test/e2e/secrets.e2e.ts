// What a daemon is told in confidence is in nothing that it writes, says or shows: passwords, tokens, signed addresses.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openContainerd } from "@soci-ts/containerd-api";
import { DisposeStack } from "@soci-ts/core";
import {
  buildTar,
  gzipLayer,
  type RunningSnapshotter,
  seededBytes,
  startSnapshotter,
} from "@soci-ts/testkit";
import { type ScriptedImage, ScriptedRegistry } from "./scripted-registry.ts";

const skip = process.getuid?.() !== 0 && "the daemon needs root";

const SECRETS = ["swordfish-password", "swordfish-token", "swordfish-signature", "wrong-word"];
const BASIC = (password: string): string => Buffer.from(`robot:${password}`).toString("base64");
const FORBIDDEN = [...SECRETS, BASIC("swordfish-password"), BASIC("wrong-word")];

test("no secret is in logs, files, answers or command lines of the daemon", {
  skip,
  timeout: 120_000,
}, async () => {
  await using stack = new DisposeStack();
  const registry = stack.use(await ScriptedRegistry.start());
  const guard = stack.use(await startGuard(registry.host));
  const folder = await mkdtemp(join(tmpdir(), "soci-secrets-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const credentials = join(folder, "docker.json");
  const tell = (password: string): Promise<void> =>
    writeFile(credentials, JSON.stringify({ auths: { [guard.host]: { auth: BASIC(password) } } }));
  await tell("wrong-word");
  const daemon = stack.use(
    await startSnapshotter(
      `[credentials]\ndocker_config_files = [${JSON.stringify(credentials)}]\n`,
    ),
  );
  const layer = gzipLayer(await buildTar([{ name: "data", content: seededBytes(300_000, 1) }]));
  const image = registry.putImage("v1", [layer]);

  let outcome = await prepare(daemon, guard.host, image, layer.diffId, "first");
  assert.equal(outcome, "mounts", "a layer that can't be had is left to containerd");
  await tell("swordfish-password");
  const deadline = Date.now() + 60_000;
  for (let at = 0; outcome !== "already-exists" && Date.now() < deadline; at += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1000)); // a failure is remembered for a while
    outcome = await prepare(daemon, guard.host, image, layer.diffId, `again-${at}`);
  }
  assert.equal(outcome, "already-exists", await daemon.log());
  assert.ok(guard.signed > 0, "the layer came from a signed address");

  const reference = `${guard.host}/app:v1`;
  const told = {
    log: await daemon.log(),
    status: await daemon.run("status"),
    statusJson: await daemon.run("status", "--json"),
    explain: await daemon.run("explain", reference),
    gc: await daemon.run("gc", "--all", "--json"),
    dump: await daemon.run("config", "dump"),
    processes: await commandLines(),
    ...(await filesBelow(daemon.root)),
  };
  assert.match(told.gc, /"evicted": \{/, "the layer server was asked");
  assert.match(told.log, /robot|unauthenticated|401/i, "the log is the right one");
  for (const [place, text] of Object.entries(told)) {
    for (const secret of FORBIDDEN) assert.ok(!text.includes(secret), `${secret} is in ${place}`);
  }
});

/** Asks as containerd does for the image's only layer. */
async function prepare(
  daemon: RunningSnapshotter,
  host: string,
  { manifest, layers }: ScriptedImage,
  chainId: string,
  key: string,
): Promise<"mounts" | "already-exists"> {
  await using client = openContainerd(daemon.socket, { namespace: "k8s.io" });
  const labels = {
    "containerd.io/snapshot.ref": chainId,
    "containerd.io/snapshot/cri.image-ref": `${host}/app:v1`,
    "containerd.io/snapshot/cri.manifest-digest": manifest.digest,
    "containerd.io/snapshot/cri.layer-digest": layers[0]?.digest ?? "",
    "containerd.io/snapshot/cri.image-layers": layers[0]?.digest ?? "",
  };
  try {
    await client.snapshots.prepare({ snapshotter: "soci", key, parent: "", labels });
    await client.snapshots.remove({ snapshotter: "soci", key });
    return "mounts";
  } catch (error) {
    if ((error as { code?: string }).code === "already_exists") return "already-exists";
    throw error;
  }
}

/** A registry that wants a token for everything, gives it for a password, and has its blobs at a signed address. */
async function startGuard(
  target: string,
): Promise<AsyncDisposable & { host: string; signed: number }> {
  const server = createServer((incoming, answer) => {
    const url = new URL(incoming.url ?? "", `http://${guard.host}`);
    const { authorization } = incoming.headers;
    if (url.pathname === "/token") {
      const isKnown = authorization === `Basic ${BASIC("swordfish-password")}`;
      answer.writeHead(isKnown ? 200 : 401, { "content-type": "application/json" });
      answer.end(isKnown ? '{"token":"swordfish-token"}' : '{"errors":[{"code":"UNAUTHORIZED"}]}');
    } else if (url.searchParams.get("X-Amz-Signature") === "swordfish-signature") {
      guard.signed += 1;
      passOn(incoming, answer, target, url.pathname);
    } else if (authorization !== "Bearer swordfish-token") {
      const realm = `http://${guard.host}/token`;
      answer
        .writeHead(401, { "www-authenticate": `Bearer realm="${realm}",service="guard"` })
        .end();
    } else if (url.pathname.includes("/blobs/sha256:")) {
      const location = `http://${guard.host}${url.pathname}?X-Amz-Signature=swordfish-signature`;
      answer.writeHead(307, { location }).end();
    } else passOn(incoming, answer, target, url.pathname);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const guard = {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    signed: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return guard;
}

function passOn(
  incoming: IncomingMessage,
  answer: ServerResponse,
  target: string,
  path: string,
): void {
  const { range } = incoming.headers;
  const headers = range === undefined ? {} : { range };
  const { method } = incoming;
  const outgoing = httpRequest(`http://${target}${path}`, { method, headers }, (from) => {
    answer.writeHead(from.statusCode ?? 502, from.headers);
    from.pipe(answer);
  });
  outgoing.on("error", () => answer.destroy());
  outgoing.end();
}

/** Whatever any process was started with. */
async function commandLines(): Promise<string> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "")); // ended
  return (await Promise.all(lines)).join("\n");
}

/** Contents of the files below a folder, by their paths. */
async function filesBelow(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((it) => join(it.parentPath, it.name));
  const texts = paths.map(async (path) => [path, await readFile(path, "latin1")] as const);
  return Object.fromEntries(await Promise.all(texts));
}
