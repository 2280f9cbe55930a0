import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { describeRequest } from "./describe.ts";
import { OPCODES, type OpcodeName } from "./protocol.ts";
import { decodeRequest, type FuseRequest, peekUnique } from "./request.ts";
import {
  FUSE_BATCH_FORGET_IN,
  FUSE_FORGET_IN,
  FUSE_FORGET_ONE,
  FUSE_GETATTR_IN,
  FUSE_GETXATTR_IN,
  FUSE_INTERRUPT_IN,
  FUSE_OPEN_IN,
  FUSE_READ_IN,
} from "./structs.ts";
import { initMessage, message, nameBytes, structBytes } from "./testing/messages.ts";

const read = structBytes(FUSE_READ_IN, { offset: 8192, size: 4096 });

const SAMPLES: readonly [Uint8Array, string][] = [
  [initMessage(41, 0x80_0040_0001n), "INIT #2 7.41 flags 0x8000400001"],
  [message("LOOKUP", 4n, 1, nameBytes("caf\xe9")), 'LOOKUP #4 node 1 name "caf\\xe9"'],
  [message("READ", 6n, 9, read), "READ #6 node 9 offset 8192 size 4096"],
  [message("READDIRPLUS", 6n, 9, read), "READDIRPLUS #6 node 9 offset 8192 size 4096"],
  [
    message("GETXATTR", 8n, 9, structBytes(FUSE_GETXATTR_IN, { size: 64 }), nameBytes("user.x")),
    'GETXATTR #8 node 9 name "user.x" size 64',
  ],
  [
    message("LISTXATTR", 8n, 9, structBytes(FUSE_GETXATTR_IN, { size: 0 })),
    "LISTXATTR #8 node 9 size 0",
  ],
  [message("INTERRUPT", 9n, 0, structBytes(FUSE_INTERRUPT_IN, { unique: 8n })), "INTERRUPT of #8"],
  [message("FORGET", 9n, 3, structBytes(FUSE_FORGET_IN, { nlookup: 1n })), "FORGET 1 nodes"],
  [
    message(
      "BATCH_FORGET",
      9n,
      0,
      structBytes(FUSE_BATCH_FORGET_IN, { count: 2 }),
      structBytes(FUSE_FORGET_ONE, {}),
      structBytes(FUSE_FORGET_ONE, {}),
    ),
    "FORGET 2 nodes",
  ],
  [message("GETATTR", 10n, 3, structBytes(FUSE_GETATTR_IN, {})), "GETATTR #10 node 3"],
  [message("OPEN", 10n, 3, structBytes(FUSE_OPEN_IN, {})), "OPEN #10 node 3"],
  [message("STATFS", (1n << 63n) | 12n, 1), "STATFS #9223372036854775820 node 1"],
  [message(46, 12n, 1, new Uint8Array(24)), "opcode 46 #12 node 1"],
];

describe("decodeRequest()", () => {
  for (const [bytes, want] of SAMPLES) {
    it(`reads ${want}`, () => assert.equal(describeRequest(decodeRequest(bytes)), want));
  }

  it("takes every opcode of the table", () => {
    const body = Buffer.concat([new Uint8Array(63), nameBytes("")]);
    for (const name of Object.keys(OPCODES) as OpcodeName[]) {
      if (name === "LOOKUP" || name === "GETXATTR" || name === "BATCH_FORGET") continue;
      const { kind } = decodeRequest(message(name, 2n, 1, body));
      assert.equal(kind, name);
    }
  });

  it("reads an INIT from before the flags had 64 bits", () => {
    const long = initMessage(28, 1n);
    const short = Buffer.from(long.subarray(0, 56));
    short.writeUInt32LE(56, 0);
    const request = decodeRequest(short);
    assert.equal(request.kind === "INIT" && request.offer.flags, 1n);
  });

  it("holds nothing of the buffer", () => {
    const bytes = message("LOOKUP", 4n, 1, nameBytes("name"));
    const request = decodeRequest(bytes);
    bytes.fill(0);
    assert.equal(request.kind === "LOOKUP" && request.name, "name");
  });

  const bad: readonly [string, Uint8Array][] = [
    ["an empty name", message("LOOKUP", 4n, 1, nameBytes(""))],
    ["a name with no end", message("LOOKUP", 4n, 1, Buffer.from("name"))],
    ["two names", message("LOOKUP", 4n, 1, nameBytes("a"), nameBytes("b"))],
    [
      "a count that does not fit",
      message("BATCH_FORGET", 4n, 0, structBytes(FUSE_BATCH_FORGET_IN, { count: 0xffff_ffff })),
    ],
    ["a node id above 2^53", message("READLINK", 4n, Number.MAX_SAFE_INTEGER + 1)],
    ["a message that is too long", message("READLINK", 4n, 1, new Uint8Array(20_000))],
  ];
  for (const [name, bytes] of bad) {
    it(`refuses ${name}`, () => assert.throws(() => decodeRequest(bytes), FormatError));
  }

  it("throws FormatError when cut at any byte", () => {
    for (const [bytes] of SAMPLES) {
      for (let length = 0; length < bytes.length; length += 1) {
        const cut = bytes.slice(0, length);
        assert.throws(() => decodeRequest(cut), FormatError);
        assert.equal(peekUnique(cut) === undefined, length < 40);
      }
    }
  });

  it("throws nothing but FormatError whatever the bytes", () => {
    let seed = 12_345;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return seed % below;
    };
    for (let turn = 0; turn < 20_000; turn += 1) {
      const bytes = Uint8Array.from(SAMPLES[random(SAMPLES.length)]![0]);
      for (let flips = 1 + random(4); flips > 0; flips -= 1)
        bytes[random(bytes.length)] = random(256);
      let request: FuseRequest | undefined;
      try {
        request = decodeRequest(bytes);
      } catch (error) {
        assert.ok(error instanceof FormatError);
      }
      if (request !== undefined) assert.ok(describeRequest(request).length < 1000);
    }
  });
});
