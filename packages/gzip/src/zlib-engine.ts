import { constants } from "node:zlib";
import { AppError } from "@soci-ts/core";
import {
  type InflateEngine,
  type InflateOutcome,
  type InflateStop,
  isBetweenBlocks,
  unusedBits,
} from "./engine.ts";
import type { EngineName } from "./types.ts";
import { Z_STREAM, type ZlibLibrary } from "./zlib-library.ts";

const RAW_DEFLATE = -15;
const INPUT_BYTES = 131072;

/**
 * The engine on native zlib. Input in shared memory is read where it lies, for nothing moves that; other input is copied into a buffer of its own,
 * whose address is known once and for all. The output buffer must be off the JavaScript heap (made over an `ArrayBuffer`).
 */
export class ZlibEngine implements InflateEngine {
  readonly name: EngineName = "zlib";
  readonly maxInputBytes: number = INPUT_BYTES;
  inputAt = 0;
  outputAt = 0;
  readonly #zlib: ZlibLibrary;
  readonly #stream = new DataView(new ArrayBuffer(Z_STREAM.sizeBytes));
  readonly #streamAddress: bigint;
  readonly #copy = new Uint8Array(new ArrayBuffer(INPUT_BYTES));
  readonly #copyAddress: bigint;
  /** Held so that its memory lives as long as native code may read there. */
  #input: Uint8Array = this.#copy;
  #inputAddress: bigint;
  /** Held so that its memory lives as long as native code may write there. */
  readonly #output: Uint8Array;
  readonly #outputAddress: bigint;
  #open = false;

  constructor(zlib: ZlibLibrary, output: Uint8Array) {
    this.#zlib = zlib;
    this.#output = output;
    this.#streamAddress = zlib.addressOf(new Uint8Array(this.#stream.buffer));
    this.#copyAddress = zlib.addressOf(this.#copy);
    this.#inputAddress = this.#copyAddress;
    this.#outputAddress = zlib.addressOf(output);
    const status = zlib.inflateInit2(this.#streamAddress, RAW_DEFLATE);
    if (status !== constants.Z_OK) throw statusError("start", status);
    this.#open = true;
  }

  get bits(): number {
    return unusedBits(this.#stream.getInt32(Z_STREAM.dataType, true));
  }

  load(input: Uint8Array): void {
    const isShared = input.buffer instanceof SharedArrayBuffer;
    if (!isShared) this.#copy.set(input);
    this.#input = isShared ? input : this.#copy.subarray(0, input.length);
    this.#inputAddress = isShared ? this.#zlib.addressOf(input) : this.#copyAddress;
    this.inputAt = 0;
  }

  reset(): void {
    this.#requireOpen();
    const status = this.#zlib.inflateReset(this.#streamAddress);
    if (status !== constants.Z_OK) throw statusError("reset", status);
  }

  inflate(outputEnd: number, stop: InflateStop): InflateOutcome {
    this.#requireOpen();
    const inputEnd = this.#input.length;
    this.#checkCursors(outputEnd);
    const stream = this.#stream;
    stream.setBigUint64(Z_STREAM.nextIn, this.#inputAddress + BigInt(this.inputAt), true);
    stream.setUint32(Z_STREAM.availIn, inputEnd - this.inputAt, true);
    stream.setBigUint64(Z_STREAM.nextOut, this.#outputAddress + BigInt(this.outputAt), true);
    stream.setUint32(Z_STREAM.availOut, outputEnd - this.outputAt, true);
    const flush = stop === "at-block" ? constants.Z_BLOCK : constants.Z_NO_FLUSH;
    const status = this.#zlib.inflate(this.#streamAddress, flush);
    this.inputAt = inputEnd - stream.getUint32(Z_STREAM.availIn, true);
    this.outputAt = outputEnd - stream.getUint32(Z_STREAM.availOut, true);
    if (status === constants.Z_STREAM_END) return "end";
    if (status === constants.Z_DATA_ERROR || status === constants.Z_NEED_DICT) return "invalid";
    if (status !== constants.Z_OK && status !== constants.Z_BUF_ERROR) {
      throw statusError("inflate", status);
    }
    const dataType = stream.getInt32(Z_STREAM.dataType, true);
    return stop === "at-block" && isBetweenBlocks(dataType) ? "block" : "more";
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#zlib.inflateEnd(this.#streamAddress);
  }

  /** Native code trusts these numbers, so no fault of a caller may reach it. */
  #checkCursors(outputEnd: number): void {
    const inputFits = this.inputAt >= 0 && this.inputAt <= this.#input.length;
    const outputFits =
      this.outputAt >= 0 && this.outputAt <= outputEnd && outputEnd <= this.#output.length;
    if (inputFits && outputFits) return;
    throw new AppError("internal", "Cannot inflate: a cursor lies outside its buffer");
  }

  #requireOpen(): void {
    if (!this.#open) throw new AppError("failed_precondition", "Cannot inflate: zlib is closed");
  }
}

function statusError(verb: string, status: number): AppError {
  const code = status === constants.Z_MEM_ERROR ? "resource_exhausted" : "internal";
  return new AppError(code, `Cannot ${verb} zlib: status ${status}, want 0`);
}
