// A registry that fails in every way, and processes that are killed: a read gives the right bytes or EIO with a logged reason, never
// wrong bytes, and works again once the trouble is over. Whatever reads is a child process, since the fault proxy lives in this one.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  type Fault,
  type FaultProxy,
  freePort,
  type RunningRegistry,
  type SlowLink,
  startEmbeddedRegistry,
  startFaultProxy,
  startSlowLink,
} from "@soci-ts/testkit";
import { type LayeredImage, PROGRAM, pushLayeredImage } from "./layered-image.ts";
import { type Comparison, compareFile, startReader } from "./readers.ts";
import { mountSkipReason } from "./soci-command.ts";
import { type TestMount, TestNode } from "./test-node.ts";

/** What goes wrong with the nth request (from 0) for a layer's blob. */
type Trouble = (request: number) => Fault | undefined;

const first =
  (count: number, fault: Fault): Trouble =>
  (request) =>
    request < count ? fault : undefined;
const always =
  (fault: Fault): Trouble =>
  () =>
    fault;

/** Troubles that a read has to get over, by the file whose layer has them. */
const PASSING: Readonly<Record<string, Trouble>> = {
  "unavailable-thrice": first(3, { kind: "status", status: 503 }),
  "asked-to-wait": first(1, { kind: "status", status: 429, headers: { "retry-after": "1" } }),
  "cut-thrice": first(3, { kind: "cut", afterBytes: 1000 }),
  "wrong-range-once": first(1, { kind: "wrong-content-range" }),
  "flipped-once": first(1, { kind: "flip", atByte: 5000 }),
  "range-ignored": always({ kind: "ignore-range" }),
  slow: always({ kind: "delay", delayMs: 300 }),
};

/** Troubles that stay, and what the log must say of them. */
const LASTING: Readonly<Record<string, { readonly trouble: Trouble; readonly reason: RegExp }>> = {
  failing: { trouble: always({ kind: "status", status: 500 }), reason: /500/ },
  gone: { trouble: always({ kind: "status", status: 404 }), reason: /404/ },
  forbidden: { trouble: always({ kind: "status", status: 403 }), reason: /403/ },
  "login-wanted": { trouble: always({ kind: "status", status: 401 }), reason: /401/ },
  cut: { trouble: always({ kind: "cut", afterBytes: 100 }), reason: /./ },
  "cut-at-once": { trouble: always({ kind: "cut", afterBytes: 0 }), reason: /./ },
  "wrong-range": { trouble: always({ kind: "wrong-content-range" }), reason: /Content-Range/ },
  flipped: { trouble: always({ kind: "flip", atByte: 3000 }), reason: /digest/ },
  [PROGRAM]: { trouble: always({ kind: "flip", atByte: 3000 }), reason: /digest/ },
};

const HANGING = "hanging";
const UNREAD = ["unread-1", "unread-2", "unread-3"] as const;
const FILES = [...Object.keys(PASSING), ...Object.keys(LASTING), HANGING, ...UNREAD];
const DOORS = ["erofs", "fuse"] as const;
/** A span that was wrong is not asked for again for three seconds. */
const RECOVERY_MS = 10_000;

describe("reads of a mounted image", { skip: mountSkipReason(), timeout: 300_000 }, () => {
  let work: string;
  let port: number;
  let registry: RunningRegistry | undefined;
  let link: SlowLink;
  let proxy: FaultProxy;
  let image: LayeredImage;

  const startRegistry = async (): Promise<void> => {
    registry = await startEmbeddedRegistry({ root: join(work, "registry"), port });
  };
  const stopRegistry = async (): Promise<void> => {
    await registry?.[Symbol.asyncDispose]();
    registry = undefined;
  };

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-faults-"));
    port = await freePort();
    await startRegistry();
    image = await pushLayeredImage(work, `127.0.0.1:${port}`, FILES);
    link = await startSlowLink(`127.0.0.1:${port}`, { rttMs: 10, megabitPerSecond: 100 });
    proxy = await startFaultProxy(link.host);
  });

  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await link?.[Symbol.asyncDispose]();
    await stopRegistry();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  /** Puts troubles in force, each counting the requests for its own layer. */
  function trouble(troubles: Readonly<Record<string, Trouble>>): void {
    const byLayer = new Map(
      Object.entries(troubles).map(([file, rule]) => [image.layerOf(file), { rule, seen: 0 }]),
    );
    proxy.rule = ({ path }) => {
      const found = byLayer.get(/blobs\/(sha256:[0-9a-f]{64})$/.exec(path)?.[1] ?? "");
      if (found === undefined) return undefined;
      found.seen += 1;
      return found.rule(found.seen - 1);
    };
  }

  function compare(mount: TestMount, file: string): Promise<Comparison> {
    return compareFile(join(mount.target, file), image.original(file));
  }

  async function compareAll(
    mount: TestMount,
    files: readonly string[],
  ): Promise<Record<string, Comparison>> {
    const results = await Promise.all(
      files.map(async (file) => [file, await compare(mount, file)] as const),
    );
    return Object.fromEntries(results);
  }

  /** Reads again and again until it works or time is up; wrong bytes end it at once. */
  async function recovered(mount: TestMount, file: string): Promise<Comparison> {
    const deadline = Date.now() + RECOVERY_MS;
    for (;;) {
      const result = await compare(mount, file);
      if (!result.startsWith("error") || Date.now() > deadline) return result;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  async function recoveredAll(
    mount: TestMount,
    files: readonly string[],
  ): Promise<Record<string, Comparison>> {
    const results = await Promise.all(
      files.map(async (file) => [file, await recovered(mount, file)] as const),
    );
    return Object.fromEntries(results);
  }

  const allEqual = (files: readonly string[]): Record<string, Comparison> =>
    Object.fromEntries(files.map((file) => [file, "equal"]));

  for (const door of DOORS) {
    describe(`through the door ${door}`, () => {
      let node: TestNode;
      let mount: TestMount;

      before(async () => {
        proxy.rule = undefined;
        node = new TestNode(join(work, door));
        mount = await node.mount(`${proxy.host}/${image.name}`, "image", "--door", door);
        assert.equal(mount.lazyLayers, FILES.length);
      });

      after(async () => {
        proxy.rule = undefined;
        await node?.[Symbol.asyncDispose]();
      });

      it("are right in spite of troubles that pass, and of a server that ignores ranges", async () => {
        trouble(PASSING);
        const files = Object.keys(PASSING);
        assert.deepEqual(await compareAll(mount, files), allEqual(files));
      });

      it("fail with EIO and a logged reason while troubles last, and work afterwards", async () => {
        const files = Object.keys(LASTING);
        trouble(Object.fromEntries(files.map((file) => [file, LASTING[file]!.trouble])));
        const t0 = performance.now();
        const [results, run] = await Promise.all([
          compareAll(mount, files),
          startReader(join(mount.target, PROGRAM), "-c", "echo works").result,
        ]);
        console.log("lasting", performance.now() - t0, run);
        const failed = Object.fromEntries(
          files.map((file) => [file, "error: Input/output error"] as const),
        );
        assert.deepEqual(results, failed);
        assert.equal(run.stdout, "");
        const log = await mount.log();
        for (const file of files) {
          const lines = log.split("\n").filter((line) => line.includes(image.layerOf(file)));
          assert.match(lines.join("\n"), LASTING[file]!.reason, `logged of ${file}`);
        }

        proxy.rule = undefined;
        assert.deepEqual(await recoveredAll(mount, files), allEqual(files));
        const again = await startReader(join(mount.target, PROGRAM), "-c", "echo works").result;
        assert.equal(again.stdout, "works\n", again.stderr);
        console.log("recovered", performance.now() - t0);
      });
    });
  }
});
