import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, it } from "node:test";
import type { FuseHandler } from "./handler.ts";
import { negotiateInit } from "./init.ts";
import { type PredecessorEnd, RequestJournal } from "./journal.ts";
import { JOURNAL_BYTES } from "./journal-format.ts";
import { FuseSession, type FuseSessionOptions } from "./session.ts";
import { FUSE_INTERRUPT_IN } from "./structs.ts";
import { CountedMetrics } from "./testing/counted-metrics.ts";
import { FakeKernel, readMessage, systemError } from "./testing/fake-kernel.ts";
import { MemoryTree, pattern, StuckTree, sampleTree } from "./testing/memory-tree.ts";
import { initMessage, message, nameBytes, structBytes } from "./testing/messages.ts";

const { EINTR, EIO } = constants.errno;

const OFFER = { major: 7, minor: 41, maxReadaheadBytes: 4096, flags: 2n ** 64n - 1n };
const RESENT = 1n << 63n;
const NODES = sampleTree();
const tree = new MemoryTree(NODES);

/** A server on a journal of its own copy, so that one that was killed changes nothing any more. */
class Server {
  readonly kernel = new FakeKernel();
  readonly metrics = new CountedMetrics();
  readonly memory: Uint8Array;
  readonly #running: Promise<void>;

  constructor(
    memory: Uint8Array,
    handler: FuseHandler,
    options: Partial<FuseSessionOptions> & { readonly predecessor?: PredecessorEnd } = {},
  ) {
    this.memory = memory.slice();
    const { predecessor = "killed", ...rest } = options;
    const session = new FuseSession({
      channel: this.kernel,
      handler,
      metrics: this.metrics,
      journal: new RequestJournal({ bytes: this.memory }, predecessor),
      negotiated: negotiateInit(OFFER, "off"),
      ...rest,
    });
    this.#running = session.run();
  }

  /** Ends it. @returns its journal as it was the instant before. */
  async kill(): Promise<Uint8Array> {
    await new Promise((resolve) => setImmediate(resolve));
    const memory = this.memory.slice();
    this.kernel.push(systemError("ENODEV"));
    await this.#running;
    return memory;
  }
}

const EMPTY = new Uint8Array(JOURNAL_BYTES);

function interruptOf(target: bigint): Uint8Array {
  return message("INTERRUPT", target + 1n, 0, structBytes(FUSE_INTERRUPT_IN, { unique: target }));
}

describe("FuseSession with a journal", () => {
  it("leaves nothing behind of what it has answered", async () => {
    const server = new Server(EMPTY, tree);
    server.kernel.push(readMessage(6n, 2, 0, 10), message("STATFS", 8n, 1), interruptOf(98n));
    for (const unique of [6n, 8n]) await server.kernel.reply(unique);
    const journal = new RequestJournal({ bytes: await server.kill() }, "crashed");
    assert.deepEqual([journal.records, journal.received], [[], []]);
  });

  it("answers in a successor what a server had taken, by its old name", async () => {
    const first = new Server(EMPTY, new StuckTree(NODES));
    first.kernel.push(readMessage(6n, 2, 100, 50), readMessage(8n, 2, 4096, 10));
    const second = new Server(await first.kill(), tree);
    const { payload } = await second.kernel.reply(6n);
    assert.deepEqual(payload, Buffer.from(pattern(150).subarray(100)));
    assert.equal((await second.kernel.reply(8n)).payload.length, 10);
    assert.equal(second.metrics.of("soci_fuse_replayed_requests_total"), 2);
    const { records } = new RequestJournal({ bytes: await second.kill() }, "killed");
    assert.deepEqual(records, []);
  });

  it("answers what was received and not looked at, an interrupt of it too", async () => {
    const memory = EMPTY.slice();
    const { buffers } = new RequestJournal({ bytes: memory }, "killed");
    buffers[0]?.set(message("LOOKUP", 6n, 1, nameBytes("big")));
    const looked = new Server(memory, tree);
    assert.equal((await looked.kernel.reply(6n)).payload.length, 128);
    await looked.kill();
    buffers[0]?.set(interruptOf(8n));
    buffers[1]?.set(readMessage(8n, 2, 0, 10));
    const interrupted = new Server(memory, new StuckTree(NODES));
    assert.equal((await interrupted.kernel.reply(8n)).errno, EINTR);
    await interrupted.kill();
  });

  it("answers an INIT that was received and not answered, and nothing else of another connection", async () => {
    const first = new Server(EMPTY, new StuckTree(NODES));
    first.kernel.push(readMessage(6n, 2, 0, 10));
    const memory = await first.kill();
    const { buffers } = new RequestJournal({ bytes: memory }, "killed");
    buffers[0]?.set(initMessage(41, OFFER.flags));
    buffers[1]?.set(readMessage(8n, 2, 0, 10));
    let agreed: unknown;
    const onReady = (given: unknown): void => {
      agreed = given;
    };
    const second = new Server(memory, tree, { negotiated: undefined, resend: "off", onReady });
    assert.equal((await second.kernel.reply(2n)).payload.length, 64);
    assert.deepEqual(agreed, { ...negotiateInit(OFFER, "off"), maxReadaheadBytes: 131_072 });
    await second.kill();
    assert.equal(second.kernel.replies.length, 1);
  });

  it("leaves it to the kernel to send again where it does, and knows what comes", async () => {
    const negotiated = negotiateInit(OFFER);
    const poison = new StuckTree(NODES);
    let memory: Uint8Array = EMPTY;
    for (const unique of [6n, 6n | RESENT, 6n | RESENT]) {
      const server = new Server(memory, poison, { negotiated, predecessor: "crashed" });
      server.kernel.push(readMessage(unique, 2, 0, 10));
      await new Promise((resolve) => setImmediate(resolve));
      const sent = server.kernel.replies.map((reply) => reply.unique);
      assert.deepEqual(sent, [0n], "it asks only");
      memory = await server.kill();
    }
    const last = new Server(memory, tree, { negotiated, predecessor: "crashed" });
    last.kernel.push(readMessage(6n | RESENT, 2, 0, 10));
    assert.equal((await last.kernel.reply(6n | RESENT)).errno, EIO);
    assert.equal(last.metrics.of("soci_fuse_poison_requests_total"), 1);
    await last.kill();
  });

  it("counts what it can't write down, and serves it", async () => {
    const long = message("GETXATTR", 6n, 2, new Uint8Array(8), nameBytes("x".repeat(600)));
    const server = new Server(EMPTY, tree);
    server.kernel.push(long);
    await server.kernel.reply(6n);
    assert.equal(server.metrics.of("soci_fuse_unjournaled_requests_total"), 1);
    await server.kill();
  });
});

/** Crashes when it reads node 2 at `at`; others are answered if `answers`, else they hang. */
class PoisonTree extends StuckTree {
  readonly crashed: Promise<void>;
  readonly #at: number;
  readonly #answers: boolean;
  #crash: () => void = () => {};

  constructor(at: number, answers: boolean) {
    super(NODES);
    this.#at = at;
    this.#answers = answers;
    this.crashed = new Promise((resolve) => {
      this.#crash = resolve;
    });
  }

  override read(
    ...[node, offset, length, options]: Parameters<StuckTree["read"]>
  ): Promise<Uint8Array> {
    if (offset === this.#at) this.#crash();
    else if (this.#answers) return Promise.resolve(tree.read(node, offset, length));
    return super.read(node, offset, length, options);
  }
}

const READS = Array.from({ length: 12 }, (_, at) => ({
  unique: BigInt(at + 1) * 2n,
  offset: at * 10,
}));

const MESSAGES = READS.map(({ unique, offset }) => readMessage(unique, 2, offset, 10));

/** Has three servers crash over the read at `poisonAt`; the third one answers all others. @returns the last journal, and what was answered. */
async function crashThrice(
  poisonAt: number,
): Promise<{ readonly memory: Uint8Array; readonly answered: ReadonlySet<bigint> }> {
  let memory: Uint8Array = EMPTY;
  for (let crash = 0; ; crash += 1) {
    const handler = new PoisonTree(poisonAt, crash === 2);
    const server = new Server(memory, handler, { predecessor: "crashed" });
    server.kernel.push(...(crash === 0 ? MESSAGES : [readMessage(1000n, 2, 9000, 10)]));
    await handler.crashed;
    memory = await server.kill();
    const fine = server.kernel.replies.filter(({ errno }) => errno === 0);
    if (crash === 2) return { memory, answered: new Set(fine.map(({ unique }) => unique)) };
  }
}

describe("FuseSession with a request that makes servers crash", () => {
  for (const guilty of [0, 5, 11]) {
    it(`convicts read ${guilty} of ${READS.length} at the third crash, and no other`, async () => {
      const { memory, answered } = await crashThrice(READS[guilty]?.offset ?? 0);
      const last = new Server(memory, tree, { predecessor: "crashed" });
      const refused: bigint[] = [];
      for (const { unique } of READS.filter((read) => !answered.has(read.unique))) {
        const { errno } = await last.kernel.reply(unique);
        if (errno === EIO) refused.push(unique);
      }
      assert.deepEqual(refused, [READS[guilty]?.unique]);
      assert.equal(last.metrics.of("soci_fuse_poison_requests_total"), 1);
      await last.kill();
    });
  }

  it("convicts nothing when servers are killed, however often", async () => {
    let memory: Uint8Array = EMPTY;
    for (let kill = 0; kill < 8; kill += 1) {
      const server = new Server(memory, new PoisonTree(0, false));
      if (kill === 0) server.kernel.push(...MESSAGES);
      memory = await server.kill();
    }
    const last = new Server(memory, tree);
    for (const { unique } of READS) assert.equal((await last.kernel.reply(unique)).errno, 0);
    await last.kill();
  });
});
