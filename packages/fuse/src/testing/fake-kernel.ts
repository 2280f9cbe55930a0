import assert from "node:assert/strict";
import type { FuseChannel } from "../channel.ts";
import { decodeStruct } from "../struct.ts";
import { FUSE_OUT_HEADER, FUSE_READ_IN } from "../structs.ts";
import { message, structBytes } from "./messages.ts";

/** An error as the system's calls throw it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** What was replied. */
export interface Reply {
  readonly unique: bigint;
  readonly errno: number;
  readonly payload: Buffer;
}

/** Plays the kernel: hands out what is pushed, keeps what is replied. */
export class FakeKernel implements FuseChannel {
  readonly replies: Reply[] = [];
  readonly #queue: (Uint8Array | Error)[] = [];
  readonly #waiting: (() => void)[] = [];
  #nextSend: { readonly code: string; readonly failed: () => void } | undefined;

  push(...items: readonly (Uint8Array | Error)[]): void {
    this.#queue.push(...items);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves when a send has failed with `code`. */
  failNextSend(code: string): Promise<void> {
    return new Promise((failed) => {
      this.#nextSend = { code, failed };
    });
  }

  async receive(buffer: Uint8Array): Promise<number> {
    for (;;) {
      const item = this.#queue.shift();
      if (item instanceof Error) {
        if ("code" in item && item.code === "ENODEV") this.push(item); // for the other readers
        throw item;
      }
      if (item !== undefined) {
        buffer.set(item);
        return item.length;
      }
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
  }

  send(pieces: readonly Uint8Array[]): void {
    const bytes = Buffer.concat(pieces);
    const failure = this.#nextSend;
    this.#nextSend = undefined;
    if (failure !== undefined) {
      failure.failed();
      throw systemError(failure.code);
    }
    const header = decodeStruct(
      FUSE_OUT_HEADER,
      new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      0,
    );
    assert.equal(header.len, bytes.length);
    this.replies.push({
      unique: header.unique,
      errno: Math.abs(header.error),
      payload: bytes.subarray(16),
    });
  }

  async sendAside(message: Uint8Array): Promise<void> {
    this.send([message]);
  }

  /** Waits for the reply to a request. */
  async reply(unique: bigint): Promise<Reply> {
    for (let turn = 0; turn < 1000; turn += 1) {
      const reply = this.replies.find((candidate) => candidate.unique === unique);
      if (reply !== undefined) return reply;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error(`no reply to ${unique}`);
  }
}

/** READ as the kernel writes it. */
export function readMessage(
  unique: bigint,
  nodeId: number,
  offset: number,
  size: number,
): Uint8Array {
  return message("READ", unique, nodeId, structBytes(FUSE_READ_IN, { offset, size }));
}
