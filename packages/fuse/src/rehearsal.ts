import type { FuseChannel } from "./channel.ts";
import { OPCODES } from "./protocol.ts";
import { encodeStruct } from "./struct.ts";
import { FUSE_IN_HEADER, FUSE_READ_IN } from "./structs.ts";

/** A read that a rehearsed kernel asks for. */
export interface RehearsedRead {
  readonly nodeId: number;
  readonly offset: number;
  readonly sizeBytes: number;
}

const LENGTH = FUSE_IN_HEADER.sizeBytes + FUSE_READ_IN.sizeBytes;

/**
 * A channel with no kernel behind it: it asks for each read when the one before was answered, throws the answers away, and then ends as a
 * channel does whose mount is gone. For a session that takes over, since there is no INIT.
 */
export function rehearsalChannel(reads: Iterable<RehearsedRead>): FuseChannel {
  const pending = reads[Symbol.iterator]();
  let unique = 1n;
  let answered: Promise<void> = Promise.resolve();
  let onAnswer = (): void => {};
  return {
    async receive(buffer) {
      await answered;
      const { done, value } = pending.next();
      if (done === true)
        throw Object.assign(new Error("the rehearsal is over"), { code: "ENODEV" });
      answered = new Promise((resolve) => {
        onAnswer = resolve;
      });
      unique += 1n;
      const view = new DataView(buffer.buffer, buffer.byteOffset, LENGTH);
      const { nodeId: nodeid, offset, sizeBytes: size } = value;
      encodeStruct(FUSE_IN_HEADER, view, 0, { len: LENGTH, opcode: OPCODES.READ, unique, nodeid });
      encodeStruct(FUSE_READ_IN, view, FUSE_IN_HEADER.sizeBytes, { offset, size });
      return LENGTH;
    },
    send: () => onAnswer(),
    sendAside: async () => {},
  };
}
