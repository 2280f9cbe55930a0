// A registry that fails in every way, and processes that are killed: a read gives the right bytes or EIO with a logged reason, never
// wrong bytes, and works again once the trouble is over. Whatever reads is a child process, since the fault proxy lives in this one.
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Fault, startFaultProxy } from "@soci-ts/testkit";
import { EIO, every, FaultBench, pause, type Trouble } from "./fault-bench.ts";
import { PROGRAM, SPAN_BYTES } from "./layered-image.ts";
import { type ReaderResult, startReader } from "./readers.ts";
import { runSoci, STACK_TRACE } from "./run-soci.ts";
import { mountSkipReason } from "./soci-command.ts";
import type { TestMount } from "./test-node.ts";

const first =
  (count: number, fault: Fault): Trouble =>
  (ordinal) =>
    ordinal < count ? fault : undefined;
const always =
  (fault: Fault): Trouble =>
  () =>
    fault;
/** A wrong byte at a blob's offset or, in requests that start behind it, at their start. */
const wrongFrom =
  (offset: number): Trouble =>
  (_, { start, end }) =>
    end <= offset ? undefined : { kind: "flip", atByte: Math.max(0, offset - start) };

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
  cut: { trouble: always({ kind: "cut", afterBytes: 100 }), reason: /closed|ends/ },
  "cut-at-once": { trouble: always({ kind: "cut", afterBytes: 0 }), reason: /closed|ends/ },
  "wrong-range": { trouble: always({ kind: "wrong-content-range" }), reason: /Content-Range/ },
  flipped: { trouble: always({ kind: "flip", atByte: 3000 }), reason: /digest/ },
  [PROGRAM]: { trouble: wrongFrom(200_000), reason: /digest/ },
};

const DOORS = ["erofs", "loop", "fuse"] as const;
/** What must happen at once, on a busy machine. */
const PROMPT_MS = 5000;

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + PROMPT_MS;
  while (!isTrue()) {
    assert.ok(Date.now() < deadline, "it does not come");
    await pause(10);
  }
}

function runProgram({ target }: TestMount): Promise<ReaderResult> {
  return startReader(join(target, PROGRAM), "-c", "echo works").result;
}

/** All at the same time, since most of it is waiting. */
const together = { skip: mountSkipReason(), concurrency: true, timeout: 200_000 };

describe("faults", together, () => {
  describe("reads of a mounted image", { concurrency: true }, () => {
    for (const door of DOORS) {
      describe(`through the door ${door}`, { concurrency: false }, () => {
        let bench: FaultBench;
        let mount: TestMount;

        before(async () => {
          bench = await FaultBench.open([...Object.keys(PASSING), ...Object.keys(LASTING)]);
          mount = await bench.node.mount(bench.reference, "image", "--door", door);
          assert.equal(mount.wholeLayers, 0);
        });

        after(async () => {
          await bench?.[Symbol.asyncDispose]();
        });

        it("are right in spite of troubles that pass, and of a server that ignores ranges", async () => {
          bench.trouble(PASSING);
          const files = Object.keys(PASSING);
          assert.deepEqual(await bench.compare(mount, files), every(files, "equal"));
        });

        it("fail with EIO and a logged reason while troubles last, and are right afterwards", async () => {
          const files = Object.keys(LASTING);
          bench.trouble(Object.fromEntries(files.map((file) => [file, LASTING[file]!.trouble])));
          const run = await runProgram(mount);
          const results = await bench.compare(mount, files);
          assert.deepEqual(results, every(files, EIO));
          // A page that can't be had kills who has it mapped; the kernel itself, while it starts a program.
          assert.match(run.signal ?? "", /SIGBUS|SIGSEGV/);
          assert.equal(run.stdout, "");
          const log = await mount.log();
          for (const file of files) {
            const lines = log
              .split("\n")
              .filter((line) => line.includes(bench.image.layerOf(file)));
            assert.match(lines.join("\n"), LASTING[file]!.reason, `logged of ${file}`);
          }

          bench.proxy.rule = undefined;
          assert.deepEqual(await bench.compareUntilRight(mount, files), every(files, "equal"));
          const { stdout, stderr } = await runProgram(mount);
          assert.equal(stdout, "works\n", stderr);
        });
      });
    }
  });

  describe("an image whose registry goes", { concurrency: true }, () => {
    for (const door of DOORS) {
      it(`is read from the cache meanwhile, and from the registry when it is back (${door})`, async () => {
        await using bench = await FaultBench.open(["read", "unread"]);
        const mount = await bench.node.mount(bench.directReference, "image", "--door", door);
        assert.deepEqual(await bench.compare(mount, ["read"]), { read: "equal" });
        await bench.stopRegistry();
        const meanwhile = await bench.compare(mount, ["read", "unread"]);
        assert.deepEqual(meanwhile, { read: "equal", unread: EIO });
        assert.match(await mount.log(), /connection is refused/);
        const another = await bench.node.target("another");
        const { exitCode, error } = await bench.node.run("mount", bench.directReference, another);
        assert.equal(exitCode, 8, error.message);

        await bench.startRegistry();
        assert.deepEqual(await bench.compareUntilRight(mount, ["unread"]), { unread: "equal" });
        await bench.node.unmount(mount);
      });
    }
  });

  describe("a mount whose processes are killed", { concurrency: true }, () => {
    for (const door of DOORS) {
      describe(`through the door ${door}`, { concurrency: false }, () => {
        let bench: FaultBench;
        const mountImage = (): Promise<TestMount> =>
          bench.node.mount(bench.reference, "image", "--door", door);

        before(async () => {
          bench = await FaultBench.open(["hanging", "one", "two"], { indexedHere: true });
        });

        after(async () => {
          await bench?.[Symbol.asyncDispose]();
        });

        it("lets go of readers while the registry hangs, and of itself", async () => {
          const mount = await mountImage();
          bench.trouble({ hanging: always({ kind: "hang" }) });
          const reader = startReader("cat", join(mount.target, "hanging"));
          await until(() => bench.requestsFor("hanging") > 0);
          const killed = performance.now();
          reader.child.kill("SIGKILL");
          await reader.result;
          assert.ok(performance.now() - killed < PROMPT_MS);
          // Who reads something else does not wait for it.
          assert.deepEqual(await bench.compare(mount, ["one"]), { one: "equal" });
          await bench.node.unmount(mount);
          assert.ok(performance.now() - killed < 2 * PROMPT_MS);
          assert.deepEqual(bench.node.leftovers(), []);
        });

        it("gives errors when the serving process is killed, and can be unmounted", async () => {
          const mount = await mountImage();
          const seen = bench.requestsFor("hanging");
          bench.trouble({ hanging: always({ kind: "hang" }) });
          const waiting = startReader("cat", join(mount.target, "hanging"));
          await until(() => bench.requestsFor("hanging") > seen);
          const killed = performance.now();
          process.kill(mount.pid, "SIGKILL");
          assert.notEqual((await waiting.result).exitCode, 0);
          assert.ok(performance.now() - killed < PROMPT_MS);
          const { two } = await bench.compare(mount, ["two"]);
          assert.match(two ?? "", /^error: (Input\/output error|Transport endpoint)/);
          await bench.node.unmount(mount);
          assert.deepEqual(bench.node.leftovers(), []);
        });

        it("is replaced by the next mount when the serving process was killed", async () => {
          bench.proxy.rule = undefined;
          const { pid } = await mountImage();
          process.kill(pid, "SIGKILL");
          await until(() => bench.node.serverPids().length === 0);
          const mount = await mountImage();
          assert.deepEqual(
            await bench.compare(mount, ["one", "two"]),
            every(["one", "two"], "equal"),
          );
          await bench.node.unmount(mount);
          assert.deepEqual(bench.node.leftovers(), []);
        });

        it("is right though every file of images in the store was damaged meanwhile", async () => {
          assert.ok((await damageFiles(bench.node.root)) > 10);
          const mount = await mountImage();
          const files = ["one", "two", "hanging"];
          assert.deepEqual(await bench.compare(mount, files), every(files, "equal"));
          await bench.node.unmount(mount);
        });
      });
    }
  });

  describe("a command whose registry fails", { concurrency: true }, () => {
    it("makes and pushes the same index in spite of troubles that pass", async () => {
      await using bench = await FaultBench.open(["file"]);
      bench.proxy.rule = ({ ordinal }) => {
        if (ordinal % 3 === 0) return { kind: "status", status: 503 };
        return ordinal % 3 === 1 ? { kind: "cut", afterBytes: 500 } : undefined;
      };
      const args = ["--push", "--min-layer-size", "0", "--span-size", SPAN_BYTES];
      const { exitCode, document } = await bench.node.run("create", ...args, bench.reference);
      assert.equal(exitCode, 0, JSON.stringify(document));
      assert.equal(document["index"], bench.image.index);
    });

    it("says in one line what is wrong while troubles last, with the code for it", async () => {
      await using bench = await FaultBench.open(["file"]);
      const layer = bench.image.layerOf("file");
      const status = (code: number): Fault => ({ kind: "status", status: code });
      const wait = { kind: "status", status: 429, headers: { "retry-after": "3600" } } as const;
      const rows: readonly (readonly [string, Fault, number, RegExp])[] = [
        ["manifests/v1", status(500), 8, /500/],
        ["manifests/v1", status(404), 3, /v1/],
        ["manifests/v1", status(401), 6, /v1|401/],
        ["manifests/v1", wait, 10, /429/],
        [layer, status(403), 7, new RegExp(layer)],
        [layer, { kind: "flip", atByte: 5000 }, 11, new RegExp(layer)],
        [layer, { kind: "cut", afterBytes: 100 }, 8, new RegExp(layer)],
      ];
      await Promise.all(
        rows.map(async ([path, fault, exitCode, message], at) => {
          await using proxy = await startFaultProxy(`127.0.0.1:${bench.port}`);
          proxy.rule = (request) => (request.path.endsWith(path) ? fault : undefined);
          const reference = `${proxy.host}/${bench.image.name}`;
          const store = join(bench.node.directory, `store-${at}`);
          const run = await runSoci(store, "create", "--min-layer-size", "0", reference);
          const what = `${fault.kind} ${path}: ${run.error.code}: ${run.error.message}`;
          assert.equal(run.exitCode, exitCode, what);
          assert.match(run.error.message, message);
          assert.doesNotMatch(run.stderr, STACK_TRACE);
        }),
      );
    });
  });
});

/** Flips a byte in the middle of each file of a store whose content comes from images. */
async function damageFiles(root: string): Promise<number> {
  let count = 0;
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/^(blobs|layers|images)\//.test(relative(root, path))) continue;
    const bytes = await readFile(path);
    const at = Math.floor(bytes.length / 2);
    bytes.writeUInt8(255 - bytes.readUInt8(at), at);
    await writeFile(path, bytes);
    count += 1;
  }
  return count;
}
