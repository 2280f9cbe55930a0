import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type FuseThreadOptions, runFuseThread, type ThreadMessage } from "./fuse-thread.ts";
import { REQUEST_BUFFER_BYTES } from "./protocol.ts";
import { readMessage, systemError } from "./testing/fake-kernel.ts";
import { message } from "./testing/messages.ts";
import { ThreadChannel, type ThreadNote } from "./thread-channel.ts";
import { makeThreadMemory, NOTES } from "./thread-memory.ts";

const BYTES = new Uint8Array(512).fill(7);
const READ = readMessage(8n, 5, 4096, 512);

/** A FUSE thread and its session's channel, both in this thread, and a device that gives messages (or errors) and then ends. */
class Rig {
  readonly buffers: readonly Uint8Array[];
  readonly channel: ThreadChannel;
  readonly replies: Uint8Array[] = [];
  readonly notes: ThreadNote[] = [];
  /** What comes to the session, as it stands in its buffers. */
  readonly received: Promise<Uint8Array>[];
  readonly #memory;

  constructor(buffers = 4) {
    this.#memory = makeThreadMemory(buffers);
    this.buffers = Array.from({ length: buffers }, () => new Uint8Array(REQUEST_BUFFER_BYTES));
    this.channel = new ThreadChannel({
      device: { receive: () => Promise.reject(), send: () => {}, sendAside: async () => {} },
      buffers: this.buffers,
      memory: this.#memory,
      onNote: (note) => this.notes.push(note),
    });
    this.received = this.buffers.map(async (buffer) =>
      buffer.slice(0, await this.channel.receive(buffer)),
    );
    for (const it of this.received) it.catch(() => {}); // how it ends is looked at by those who care
  }

  run(
    messages: Iterable<Uint8Array | Error>,
    options: Partial<Pick<FuseThreadOptions, "read" | "tell">> & { onSend?: () => void } = {},
  ): void {
    const pending = messages[Symbol.iterator]();
    const { read = () => BYTES, onSend = () => {} } = options;
    const { tell = (told: ThreadMessage) => this.channel.told(told) } = options;
    runFuseThread({
      channel: {
        receive: (buffer) => {
          const { value = systemError("ENODEV") } = pending.next();
          if (value instanceof Error) throw value;
          buffer.set(value);
          return value.length;
        },
        send: (pieces) => {
          onSend();
          this.replies.push(Buffer.concat(pieces));
        },
      },
      buffers: this.buffers,
      memory: this.#memory,
      tell,
      read,
    });
  }

  /** What has come to the session, when the thread has ended. */
  async toSession(): Promise<readonly Uint8Array[]> {
    const settled = await Promise.allSettled(this.received);
    return settled.flatMap((it) => (it.status === "fulfilled" ? [it.value] : []));
  }
}

describe("runFuseThread()", () => {
  it("answers a READ itself, and notes it", async () => {
    const rig = new Rig();
    rig.run([READ]);
    assert.deepEqual(await rig.toSession(), []);
    assert.deepEqual(rig.replies[0]?.subarray(16), Buffer.from(BYTES));
    assert.equal(Buffer.from(rig.replies[0] ?? []).readBigUInt64LE(8), 8n);
    const [{ nodeId, offset, lengthBytes } = {} as Partial<ThreadNote>] = rig.notes;
    assert.deepEqual([nodeId, offset, lengthBytes], [5, 4096, 512]);
    assert.equal(rig.channel.answered, 1);
  });

  it("leaves to the session what it can't answer, in the buffer that it came in", async () => {
    const rig = new Rig();
    const messages = [READ, message("STATFS", 10n, 1), Uint8Array.of(1, 2, 3)];
    rig.run(messages, { read: () => undefined });
    assert.deepEqual(
      await rig.toSession(),
      messages.map((it) => Uint8Array.from(it)),
    );
    assert.equal(rig.replies.length, 0);
  });

  it("leaves to the session what can't be read, is too much, or can't be sent", async () => {
    const fail = (): never => {
      throw systemError("EIO");
    };
    const faults = [{ read: fail }, { read: () => new Uint8Array(513) }, { onSend: fail }];
    for (const fault of faults) {
      const rig = new Rig();
      rig.run([READ], fault);
      assert.equal((await rig.toSession()).length, 1);
      assert.equal(rig.notes.length, 0);
    }
  });

  it("takes a request whose reader has gone for answered", async () => {
    const rig = new Rig();
    const onSend = (): void => {
      throw systemError("ENOENT");
    };
    rig.run([READ], { onSend });
    assert.deepEqual(await rig.toSession(), []);
    assert.equal(rig.notes.length, 1);
  });

  it("goes on after EINTR, EAGAIN and ENOENT, and tells the session how it ended", async () => {
    const rig = new Rig();
    rig.run([...["EINTR", "EAGAIN", "ENOENT"].map((code) => systemError(code)), READ]);
    assert.equal(rig.replies.length, 1);
    for (const it of rig.received) await assert.rejects(it, { code: "ENODEV" });
    const [buffer = BYTES] = rig.buffers;
    await assert.rejects(rig.channel.receive(buffer), { code: "ENODEV" });
  });

  it("has a request in its buffer until it is answered, and no longer: a successor would find it", () => {
    const rig = new Rig(1);
    const lengthField = (): number =>
      new DataView(rig.buffers[0]?.buffer ?? new ArrayBuffer(4)).getUint32(0, true);
    rig.run([READ], { onSend: () => assert.equal(lengthField(), READ.length) });
    assert.equal(lengthField(), 0);
    assert.equal(rig.replies.length, 1);
  });

  it("leaves reads to the session while that takes no notes, and loses none", async () => {
    const rig = new Rig(4);
    const messages = Array.from({ length: NOTES + 2 }, (_, at) =>
      readMessage(BigInt(2 * at + 2), 5, at * 512, 512),
    );
    // The session's event loop is busy all the time.
    rig.run(messages, { tell: (told) => setImmediate(() => rig.channel.told(told)) });
    assert.equal(rig.notes.length, 0);
    assert.equal((await rig.toSession()).length, 2);
    assert.deepEqual(
      rig.notes.map(({ offset }) => offset / 512),
      [...messages.keys()].slice(0, NOTES),
    );
  });

  it("is stuck if it works on the same request as when that was asked before", () => {
    const rig = new Rig(1);
    const seen: boolean[] = [];
    const look = (): void => {
      seen.push(rig.channel.isStuck(), rig.channel.isStuck());
    };
    look();
    rig.run([READ], {
      read: () => {
        look();
        return BYTES;
      },
    });
    look();
    assert.deepEqual(seen, [false, false, false, true, false, false]);
  });
});
