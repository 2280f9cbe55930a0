import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import type { FuseHandler } from "./handler.ts";
import { negotiateInit } from "./init.ts";
import { FuseSession } from "./session.ts";
import {
  FUSE_GETXATTR_IN,
  FUSE_INTERRUPT_IN,
  FUSE_NOTIFY_INVAL_INODE_OUT,
  FUSE_READ_IN,
} from "./structs.ts";
import { FakeKernel, readMessage, systemError } from "./testing/fake-kernel.ts";
import { MemoryTree, pattern, StuckTree, sampleTree } from "./testing/memory-tree.ts";
import { initMessage, message, nameBytes, structBytes } from "./testing/messages.ts";

const { EAGAIN, EINTR, EINVAL, EIO, ENODATA, ENOENT, ENOSYS, ERANGE } = constants.errno;

const ALL_FLAGS = 2n ** 64n - 1n;

async function withSession(
  handler: FuseHandler,
  work: (kernel: FakeKernel) => Promise<void>,
  options: { flags?: bigint; readDeadlineMs?: number } = {},
): Promise<void> {
  const kernel = new FakeKernel();
  const { flags = ALL_FLAGS, ...rest } = options;
  const session = new FuseSession({ channel: kernel, handler, ...rest });
  kernel.push(initMessage(41, flags));
  const running = session.run();
  try {
    await work(kernel);
  } finally {
    kernel.push(systemError("ENODEV"));
    await running;
  }
}

const tree = new MemoryTree(sampleTree());

describe("FuseSession", () => {
  it("answers requests from the handler and ends when unmounted", async () => {
    await withSession(tree, async (kernel) => {
      kernel.push(readMessage(10n, 2, 4096, 8192), message("READLINK", 12n, 3));
      assert.deepEqual(
        (await kernel.reply(10n)).payload,
        Buffer.from(pattern(3_000_000).subarray(4096, 12_288)),
      );
      assert.equal(String((await kernel.reply(12n)).payload), "sub/../big");
    });
  });

  it("goes on after EINTR, EAGAIN and ENOENT", async () => {
    await withSession(tree, async (kernel) => {
      kernel.push(
        systemError("EINTR"),
        systemError("EAGAIN"),
        systemError("ENOENT"),
        message("STATFS", 4n, 1),
      );
      assert.equal((await kernel.reply(4n)).errno, 0);
    });
  });

  it("rejects when the descriptor fails in another way", async () => {
    const kernel = new FakeKernel();
    const session = new FuseSession({ channel: kernel, handler: tree, readers: 1 });
    kernel.push(systemError("EBADF"));
    await assert.rejects(session.run(), { code: "internal" });
  });

  it("answers ENOSYS to what it does not know, and to OPEN where the kernel needs none", async () => {
    await withSession(tree, async (kernel) => {
      kernel.push(
        message(46, 4n, 1, new Uint8Array(24)),
        message("OPEN", 6n, 2, new Uint8Array(8)),
        message("OPENDIR", 8n, 1, new Uint8Array(8)),
      );
      for (const unique of [4n, 6n, 8n]) assert.equal((await kernel.reply(unique)).errno, ENOSYS);
    });
    await withSession(
      tree,
      async (kernel) => {
        kernel.push(message("OPEN", 6n, 2, new Uint8Array(8)));
        assert.equal((await kernel.reply(6n)).payload.length, 16);
      },
      { flags: 1n },
    );
  });

  it("does not answer FORGET", async () => {
    await withSession(tree, async (kernel) => {
      kernel.push(message("FORGET", 4n, 1, new Uint8Array(8)), message("STATFS", 6n, 1));
      await kernel.reply(6n);
      assert.ok(!kernel.replies.some(({ unique }) => unique === 4n));
    });
  });

  it("answers EINVAL to a message that can't be decoded, when it has a name", async () => {
    await withSession(tree, async (kernel) => {
      kernel.push(
        message("LOOKUP", 4n, 1, nameBytes("")),
        new Uint8Array(7),
        message("STATFS", 6n, 1),
      );
      assert.equal((await kernel.reply(4n)).errno, EINVAL);
      assert.equal((await kernel.reply(6n)).errno, 0);
    });
  });

  it("answers xattrs by size: too small is ERANGE, 0 asks how much, absent is ENODATA", async () => {
    await withSession(
      tree,
      async (kernel) => {
        const get = (unique: bigint, name: string, size: number): Uint8Array =>
          message("GETXATTR", unique, 6, structBytes(FUSE_GETXATTR_IN, { size }), nameBytes(name));
        kernel.push(
          get(12n, "trusted.overlay.opaque", 16),
          get(4n, "user.none", 16),
          get(6n, "trusted.overlay.opaque", 0),
        );
        kernel.push(message("LISTXATTR", 8n, 6, structBytes(FUSE_GETXATTR_IN, { size: 3 })));
        assert.equal(String((await kernel.reply(12n)).payload), "y");
        assert.equal((await kernel.reply(4n)).errno, ENODATA);
        assert.equal((await kernel.reply(6n)).payload[0], 1);
        assert.equal((await kernel.reply(8n)).errno, ERANGE);
      },
      {},
    );
  });

  it("lists a long directory in pieces that fit", async () => {
    await withSession(tree, async (kernel) => {
      let offset = 0;
      let names = 0;
      for (let unique = 100n; ; unique += 2n) {
        kernel.push(
          message("READDIRPLUS", unique, 4, structBytes(FUSE_READ_IN, { offset, size: 4096 })),
        );
        const { payload } = await kernel.reply(unique);
        if (payload.length === 0) break;
        assert.ok(payload.length <= 4096);
        for (let at = 0; at < payload.length; names += 1) {
          const nameLength = payload.readUInt32LE(at + 144);
          offset = Number(payload.readBigUInt64LE(at + 136));
          at += Math.ceil((152 + nameLength) / 8) * 8;
        }
      }
      assert.equal(names, 302);
    });
  });

  it("answers an unknown node with ENOENT and a handler's fault with EIO", async () => {
    const broken = new MemoryTree(sampleTree());
    broken.read = () => {
      throw new TypeError("a fault");
    };
    await withSession(broken, async (kernel) => {
      kernel.push(message("READLINK", 4n, 77), readMessage(6n, 2, 0, 10));
      assert.equal((await kernel.reply(4n)).errno, ENOENT);
      assert.equal((await kernel.reply(6n)).errno, EIO);
    });
  });

  it("answers a READ with EIO whatever keeps the bytes away, an interruption excepted", async () => {
    const codes = ["not_found", "permission_denied", "out_of_range", "unimplemented"] as const;
    const failing = new MemoryTree(sampleTree());
    failing.read = (_node, at) => {
      throw new AppError(codes[at] ?? "cancelled", "Cannot read the layer");
    };
    await withSession(failing, async (kernel) => {
      for (const at of codes.keys()) {
        kernel.push(readMessage(BigInt(6 + 2 * at), 2, at, 10));
        assert.equal((await kernel.reply(BigInt(6 + 2 * at))).errno, EIO, codes[at]);
      }
      kernel.push(readMessage(20n, 2, codes.length, 10));
      assert.equal((await kernel.reply(20n)).errno, EINTR);
    });
  });

  it("never sends more than was asked for", async () => {
    const generous = new MemoryTree(sampleTree());
    generous.read = () => new Uint8Array(100);
    await withSession(generous, async (kernel) => {
      kernel.push(readMessage(6n, 2, 0, 10));
      assert.equal((await kernel.reply(6n)).errno, EIO);
    });
  });

  it("aborts a read on INTERRUPT and asks for an INTERRUPT again whose target is not here", async () => {
    const stuck = new StuckTree(sampleTree());
    await withSession(stuck, async (kernel) => {
      const interrupt = (target: bigint): Uint8Array =>
        message("INTERRUPT", target + 1n, 0, structBytes(FUSE_INTERRUPT_IN, { unique: target }));
      kernel.push(readMessage(6n, 2, 0, 10), interrupt(6n), interrupt(98n));
      assert.equal((await kernel.reply(6n)).errno, EINTR);
      assert.equal((await kernel.reply(99n)).errno, EAGAIN);
      assert.equal((stuck.reasons[0] as AppError).code, "cancelled");
    });
  });

  it("answers EIO after the deadline", async () => {
    const stuck = new StuckTree(sampleTree());
    await withSession(
      stuck,
      async (kernel) => {
        kernel.push(readMessage(6n, 2, 0, 10));
        assert.equal((await kernel.reply(6n)).errno, EIO);
        assert.ok(stuck.reasons[0] instanceof AppError);
      },
      { readDeadlineMs: 20 },
    );
  });

  it("aborts what is in flight when unmounted", async () => {
    const stuck = new StuckTree(sampleTree());
    await withSession(stuck, async (kernel) => {
      kernel.push(readMessage(6n, 2, 0, 10), message("STATFS", 8n, 1));
      await kernel.reply(8n);
    });
    assert.equal(stuck.reasons.length, 1);
  });

  it("keeps a resent request's unique", async () => {
    const unique = (1n << 63n) | 6n;
    await withSession(tree, async (kernel) => {
      kernel.push(readMessage(unique, 2, 0, 10));
      assert.equal((await kernel.reply(unique)).payload.length, 10);
    });
  });

  it("turns a reply that the kernel refuses into EIO, and lets go of one that nobody waits for", async () => {
    await withSession(tree, async (kernel) => {
      await kernel.reply(2n);
      void kernel.failNextSend("EINVAL");
      kernel.push(readMessage(6n, 2, 0, 10));
      assert.equal((await kernel.reply(6n)).errno, EIO);
      const failed = kernel.failNextSend("ENOENT");
      kernel.push(readMessage(8n, 2, 0, 10));
      await failed;
      kernel.push(message("STATFS", 10n, 1));
      await kernel.reply(10n);
      assert.ok(!kernel.replies.some(({ unique: replied }) => replied === 8n));
    });
  });
});

describe("FuseSession that takes a connection over", () => {
  async function withSuccessor(
    flags: bigint,
    work: (kernel: FakeKernel) => Promise<void>,
  ): Promise<void> {
    const kernel = new FakeKernel();
    const offer = { major: 7, minor: 41, maxReadaheadBytes: 4096, flags };
    const negotiated = negotiateInit(offer);
    let ready: unknown;
    const onReady = (given: unknown): void => {
      ready = given;
    };
    const handler = new MemoryTree(sampleTree());
    const running = new FuseSession({ channel: kernel, handler, negotiated, onReady }).run();
    try {
      assert.equal(ready, negotiated);
      await work(kernel);
    } finally {
      kernel.push(systemError("ENODEV"));
      await running;
    }
  }

  it("asks for what was in flight, and answers it as it came", async () => {
    await withSuccessor(ALL_FLAGS, async (kernel) => {
      assert.deepEqual(kernel.replies[0], { unique: 0n, errno: 7, payload: Buffer.alloc(0) });
      const resent = (1n << 63n) | 10n;
      kernel.push(readMessage(resent, 2, 100, 50));
      const { payload } = await kernel.reply(resent);
      assert.ok(payload.equals(pattern(150).subarray(100)));
    });
  });

  it("has pages forgotten that are read", async () => {
    const kernel = new FakeKernel();
    const session = new FuseSession({ channel: kernel, handler: new MemoryTree(sampleTree()) });
    const range = { nodeId: 2 ** 33, offset: 4096, lengthBytes: 2 ** 20 };
    assert.equal(await session.forgetPages(range), true);
    const body = { ino: 2 ** 33, off: 4096, len: 2 ** 20 };
    const payload = Buffer.from(structBytes(FUSE_NOTIFY_INVAL_INODE_OUT, body));
    assert.deepEqual(kernel.replies, [{ unique: 0n, errno: 2, payload }]);
    const said = { ENOENT: true, ENODEV: true, EINVAL: false, ENOSYS: false } as const;
    for (const [code, expected] of Object.entries(said)) {
      void kernel.failNextSend(code);
      assert.equal(await session.forgetPages(range), expected, code);
    }
    void kernel.failNextSend("EIO");
    await assert.rejects(session.forgetPages(range), /EIO/);
  });

  it("keeps to what was negotiated", async () => {
    await withSuccessor(ALL_FLAGS, async (kernel) => {
      kernel.push(message("OPEN", 12n, 2, new Uint8Array(8)));
      assert.equal((await kernel.reply(12n)).errno, ENOSYS);
    });
    await withSuccessor(0n, async (kernel) => {
      kernel.push(message("OPEN", 12n, 2, new Uint8Array(8)));
      assert.equal((await kernel.reply(12n)).errno, 0);
    });
  });

  it("lets go who waits for a request that is lost, where nothing is sent again", async () => {
    const interrupt = message("INTERRUPT", 21n, 0, structBytes(FUSE_INTERRUPT_IN, { unique: 20n }));
    await withSuccessor(0n, async (kernel) => {
      assert.deepEqual(kernel.replies, []);
      kernel.push(interrupt);
      assert.equal((await kernel.reply(20n)).errno, EINTR);
    });
    await withSuccessor(ALL_FLAGS, async (kernel) => {
      kernel.push(interrupt);
      assert.equal((await kernel.reply(21n)).errno, EAGAIN);
    });
  });
});
