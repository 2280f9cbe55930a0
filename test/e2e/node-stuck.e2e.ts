// One registry or one image that hangs, and what others notice of it: nothing. Every read has a deadline, through every door.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import {
  type Fault,
  type FaultProxy,
  type SeenRequest,
  seededBytes,
  startFaultProxy,
} from "@soci-ts/testkit";
import {
  type FaultImage,
  FaultNode,
  type LayerFiles,
  type MountedFaultImage,
} from "./fault-node.ts";
import { type Reader, startReader } from "./readers.ts";

const skip = process.getuid?.() !== 0 && "the daemon needs root";

const DOORS = ["erofs", "loop", "fuse"] as const;
const DEADLINE_MS = 4000;
/** What a busy machine may take on top; less than a second deadline would. */
const SLACK_MS = 3500;

const STUCK_LAYERS = 12;
const STUCK_FILES = 10;

/** The rule of a proxy: these layers' blobs have a fault. */
function faulty(
  image: FaultImage,
  fault: (request: SeenRequest) => Fault | undefined,
): FaultProxy["rule"] {
  const digests = image.scripted.layers.map(({ digest }) => digest);
  return (request) =>
    digests.some((digest) => request.path.includes(`/blobs/${digest}`))
      ? fault(request)
      : undefined;
}

let seed = 0;
function nextSeed(): number {
  seed += 1;
  return seed;
}

const bytes = (length: number): Uint8Array => seededBytes(length, nextSeed());

function layersOf(count: number, files: number, length: number): readonly LayerFiles[] {
  return Array.from({ length: count }, (_, layer) =>
    Object.fromEntries(
      Array.from({ length: files }, (__, at) => [`${layer}-${at}`, bytes(length)] as const),
    ),
  );
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!isTrue()) {
    assert.ok(Date.now() < deadline, `it does not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("a registry that hangs, on a node", { skip, timeout: 120_000 }, () => {
  let node: FaultNode;
  let hanging: FaultProxy;
  let healthy: FaultProxy;
  const stack = new DisposeStack();

  before(async () => {
    node = stack.use(await FaultNode.open("auto", ""));
    hanging = stack.use(await startFaultProxy(node.registry.host));
    healthy = stack.use(await startFaultProxy(node.registry.host));
    await node.nameHosts("a.test", hanging.host);
    await node.nameHosts("b.test", healthy.host);
  });

  after(async () => {
    if (hanging !== undefined) hanging.rule = undefined;
    await stack[Symbol.asyncDispose]();
  });

  /** Reads all of a fresh image. */
  async function readImage(
    name: string,
  ): Promise<{ ms: number; prepareMs: number; requests: number }> {
    const image = await node.put(layersOf(3, 1, 1_000_000));
    const requests = (): number => hanging.requests.length + healthy.requests.length;
    const started = performance.now();
    const mounted = await node.mount(image, name);
    const prepared = performance.now();
    const before = requests();
    const files = image.files.flatMap((layer) => Object.keys(layer));
    const found = await mounted.compare(...files);
    const ms = performance.now() - prepared;
    for (const file of files) assert.equal(found[file], "equal", `${name} ${file}`);
    return { ms, prepareMs: prepared - started, requests: requests() - before };
  }

  it("slows no read, mount or removal of another registry's images, nor of its own other images", async (t) => {
    const stuckImage = await node.put(layersOf(STUCK_LAYERS, STUCK_FILES, 66_000));
    const stuck = await node.mount(stuckImage, "a.test/stuck");
    await readImage("b.test/warm");
    const before = {
      other: await readImage("b.test/before"),
      same: await readImage("a.test/before"),
    };

    hanging.rule = faulty(stuckImage, () => ({ kind: "hang" }));
    const seen = hanging.requests.length;
    const readers = stuckImage.files
      .flatMap((layer) => Object.keys(layer))
      .map((file) => startReader("cat", stuck.pathOf(file)));
    // As many as one repository may have under way.
    await until("many requests hang", () => hanging.requests.length - seen >= 32);
    const during = {
      other: await readImage("b.test/during"),
      same: await readImage("a.test/during"),
    };
    assert.ok(
      readers.every(({ child }) => child.exitCode === null),
      "they are still stuck",
    );
    for (const which of ["other", "same"] as const) {
      const [was, is] = [before[which], during[which]];
      t.diagnostic(
        `${which} registry, ${readers.length} reads stuck: prepare ${was.prepareMs.toFixed(0)} to ${is.prepareMs.toFixed(0)} ms, ` +
          `read 3 MB ${was.ms.toFixed(0)} to ${is.ms.toFixed(0)} ms, requests ${was.requests} to ${is.requests}`,
      );
      assert.ok(is.ms < 10_000 && is.ms < 5 * was.ms + 1000, `${which}: ${was.ms} to ${is.ms} ms`);
      assert.ok(is.requests <= 3 * was.requests, `${which}: ${was.requests} to ${is.requests}`);
    }

    const removal = performance.now();
    for (const { child } of readers) child.kill("SIGKILL");
    await Promise.all(readers.map(({ result }) => result));
    await stuck[Symbol.asyncDispose]();
    t.diagnostic(`readers and snapshots gone in ${(performance.now() - removal).toFixed(0)} ms`);
    assert.ok(performance.now() - removal < 10_000);
    hanging.rule = undefined;
    await readImage("a.test/after");
  });
});

/** Ways for a registry to hang that are seen in the requests for a layer's blob, by the file in that layer. */
const HANGS: Readonly<Record<string, Fault>> = {
  headers: { kind: "hang" },
  body: { kind: "stall", afterBytes: 1000 },
  trickle: { kind: "trickle" },
};
/** Hangs once the first spans are there, so that a program can be started and then misses a page. */
const PROGRAM = "program";
const PROGRAM_FROM = 200_000;
const SHELL = ["/bin/bash", "/bin/sh"].find((path) => existsSync(path)) ?? "";

describe("a read's deadline, on a node", { skip, concurrency: true, timeout: 120_000 }, () => {
  for (const door of DOORS) {
    describe(`through the door ${door}`, { concurrency: true }, () => {
      let node: FaultNode;
      let proxy: FaultProxy;
      const stack = new DisposeStack();

      before(async () => {
        node = stack.use(await FaultNode.open(door, `[read]\ndeadline_ms = ${DEADLINE_MS}`));
        proxy = stack.use(await startFaultProxy(node.registry.host));
        await node.nameHosts("slow.test", proxy.host);
      });

      after(() => stack[Symbol.asyncDispose]());

      async function isLate(reader: Reader, what: string): Promise<void> {
        const { exitCode, signal, tookMs } = await reader.result;
        assert.ok(exitCode !== 0 || signal !== null, `${what} got something`);
        assert.ok(tookMs < DEADLINE_MS + SLACK_MS, `${what}: ${tookMs.toFixed(0)} ms`);
      }

      async function recovers(mounted: MountedFaultImage, files: readonly string[]): Promise<void> {
        const found = await mounted.compareUntilRead(...files);
        for (const file of files) assert.equal(found[file], "equal", file);
      }

      it("ends read(2) with EIO and mapped memory with a signal, and what comes later is right", async () => {
        const names = Object.keys(HANGS);
        const image = await node.put([
          ...names.map((name) => ({ [name]: bytes(300_000) })),
          { [PROGRAM]: await readFile(SHELL) },
        ]);
        const mounted = await node.mount(image, "slow.test/app");
        const hangs = new Map<string, Fault>(
          names.map((name) => [mounted.digestOf(name), HANGS[name] ?? { kind: "hang" }]),
        );
        proxy.rule = faulty(image, ({ path, range }) => {
          const known = hangs.get(/sha256:[0-9a-f]{64}/.exec(path)?.[0] ?? "");
          const end = Number(/-(\d+)$/.exec(range ?? "")?.[1]);
          return known ?? (end > PROGRAM_FROM ? { kind: "hang" } : undefined);
        });
        const reads = names.map((name) =>
          isLate(startReader("cat", mounted.pathOf(name)), `read ${name}`),
        );
        const run = startReader(mounted.pathOf(PROGRAM), "-c", "echo works");
        await Promise.all([...reads, isLate(run, "program")]);
        assert.match((await run.result).signal ?? "", /SIGBUS|SIGSEGV/);
        const lateText = await node.daemon.run("explain", mounted.reference);
        assert.match(
          lateText,
          /no\s+answer\s+after\s+\d+\s+ms;\s+it\s+is\s+read\s+from\s+slow\.test\/app/,
        );

        proxy.rule = undefined;
        await recovers(mounted, [...names, PROGRAM]);
        const again = await startReader(mounted.pathOf(PROGRAM), "-c", "echo works").result;
        assert.equal(again.stdout, "works\n", again.stderr);
      });

      // The rest is the same code for all doors.
      if (door !== "erofs") return;

      it("holds where no connection comes about", async () => {
        await using dead = await startDeaf();
        const image = await node.put([{ unconnected: bytes(300_000) }]);
        await node.nameHosts("deaf.test", proxy.host);
        const mounted = await node.mount(image, "deaf.test/app");
        await node.nameHosts("deaf.test", dead.host);
        await isLate(startReader("cat", mounted.pathOf("unconnected")), "read");
        await node.nameHosts("deaf.test", proxy.host);
        await recovers(mounted, ["unconnected"]);
      });

      it("holds where the token server hangs", async () => {
        await using own = await startFaultProxy(node.registry.host);
        await node.nameHosts("token.test", own.host);
        const image = await node.put([{ tokenless: bytes(300_000) }]);
        const mounted = await node.mount(image, "token.test/app");
        const challenge = `Bearer realm="http://${own.host}/token",service="s"`;
        own.rule = ({ path }) => {
          if (path.startsWith("/token")) return { kind: "hang" };
          return { kind: "status", status: 401, headers: { "www-authenticate": challenge } };
        };
        await isLate(startReader("cat", mounted.pathOf("tokenless")), "read");
        assert.ok(own.requests.some(({ path }) => path.startsWith("/token")));
        own.rule = ({ path }) => {
          if (!path.startsWith("/token")) return undefined;
          return { kind: "status", status: 200, body: '{"token":"t"}' };
        };
        await recovers(mounted, ["tokenless"]);
      });
    });
  }
});

/** A host that lets nobody in: its queue of connections is full, so that SYNs are dropped. */
async function startDeaf(): Promise<AsyncDisposable & { readonly host: string }> {
  const script =
    'require("net").createServer().listen({port: 0, host: "127.0.0.1", backlog: 1}, function () { console.log(this.address().port); })';
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(String(line));
  child.kill("SIGSTOP");
  const sockets = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  return {
    host: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}
