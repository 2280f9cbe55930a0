import { AppError } from "@soci-ts/core";
import * as pako from "pako";
import {
  type InflateEngine,
  type InflateOutcome,
  type InflateStop,
  isBetweenBlocks,
  unusedBits,
} from "./engine.ts";
import type { EngineName } from "./types.ts";

const RAW_DEFLATE = -15;

/** The engine in pure JavaScript: works everywhere, at about a quarter of the speed. */
export class PakoEngine implements InflateEngine {
  readonly name: EngineName = "pako";
  readonly maxInputBytes: number = Number.MAX_SAFE_INTEGER;
  inputAt = 0;
  outputAt = 0;
  readonly #stream = new pako.ZStream();

  constructor(output: Uint8Array<ArrayBuffer>) {
    this.#stream.output = output;
    const status = pako.zlibInflateInit2(this.#stream, RAW_DEFLATE);
    if (status !== pako.Z_OK) throw new AppError("internal", `Cannot start pako: status ${status}`);
  }

  get bits(): number {
    return unusedBits(this.#stream.data_type);
  }

  load(input: Uint8Array): void {
    this.#stream.input = input;
    this.inputAt = 0;
  }

  reset(): void {
    pako.zlibInflateReset(this.#stream);
  }

  inflate(outputEnd: number, stop: InflateStop): InflateOutcome {
    const stream = this.#stream;
    stream.next_in = this.inputAt;
    stream.avail_in = stream.input.length - this.inputAt;
    stream.next_out = this.outputAt;
    stream.avail_out = outputEnd - this.outputAt;
    const status = pako.zlibInflate(stream, stop === "at-block" ? pako.Z_BLOCK : pako.Z_NO_FLUSH);
    this.inputAt = stream.next_in;
    this.outputAt = stream.next_out;
    if (status === pako.Z_STREAM_END) return "end";
    if (status !== pako.Z_OK && status !== pako.Z_BUF_ERROR) return "invalid";
    return stop === "at-block" && isBetweenBlocks(stream.data_type) ? "block" : "more";
  }

  [Symbol.dispose](): void {
    pako.zlibInflateEnd(this.#stream);
  }
}
