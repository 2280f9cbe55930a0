import { AppError, FormatError } from "@soci-ts/core";
import type { InflateEngine, InflateStop } from "./engine.ts";
import { createEngine } from "./engines.ts";
import { HeaderReader } from "./header.ts";
import { DEFAULT_MAX_CHECKPOINTS } from "./limits.ts";
import { OutputBuffer } from "./output-buffer.ts";
import { TrailerReader } from "./trailer.ts";
import {
  type Checkpoint,
  type EngineName,
  type GzipScan,
  type GzipScanOptions,
  type GzipScanResult,
  WINDOW_BYTES,
} from "./types.ts";

/**
 * Starts a scan; the caller finishes or disposes it.
 * @throws AppError `invalid_argument` for a span size that is no positive integer; `failed_precondition` if the engine that is
 * asked for does not work here.
 */
export function createGzipScan(options: GzipScanOptions): GzipScan {
  if (!Number.isSafeInteger(options.spanSizeBytes) || options.spanSizeBytes < 1) {
    const state = `its size is ${options.spanSizeBytes} bytes, want a positive integer`;
    throw new AppError("invalid_argument", `Cannot cut spans: ${state}`);
  }
  return new Scan(options);
}

/**
 * What the next byte of input belongs to. A stream is one or more members, each `header` → `deflate` → `trailer`; it may end
 * only where a header could start.
 */
type Part =
  | { readonly kind: "header"; readonly reader: HeaderReader }
  | { readonly kind: "deflate" }
  | { readonly kind: "trailer"; readonly reader: TrailerReader };

class Scan implements GzipScan {
  readonly #options: GzipScanOptions;
  readonly #output: OutputBuffer;
  readonly #engine: InflateEngine;
  readonly #checkpoints: Checkpoint[] = [];
  #checkpointCount = 0;
  /** Where the current span starts in the output. */
  #spanStart = 0;
  #part: Part = { kind: "header", reader: new HeaderReader(0) };
  /** Offset in the compressed stream of the engine's current piece. */
  #pieceOffset = 0;
  #uncompressedOffset = 0;
  #memberStart = 0;
  #closed = false;

  constructor(options: GzipScanOptions) {
    this.#options = options;
    this.#output = new OutputBuffer(options.onOutput);
    this.#engine = createEngine(options.engine, this.#output.bytes);
    this.#engine.outputAt = WINDOW_BYTES;
  }

  get engine(): EngineName {
    return this.#engine.name;
  }

  push(input: Uint8Array): void {
    this.#requireOpen();
    try {
      const step = this.#engine.maxInputBytes;
      for (let at = 0; at < input.length; at += step) {
        this.#pushPiece(input.subarray(at, at + step));
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  finish(): GzipScanResult {
    this.#requireOpen();
    try {
      const part = this.#part;
      if (part.kind !== "header" || !part.reader.isUntouched || this.#checkpointCount === 0) {
        const state = `the stream ends inside a member's ${part.kind}, want the rest`;
        throw new FormatError("gzip", this.#pieceOffset, state);
      }
      this.#output.deliver(this.#engine.outputAt);
    } finally {
      this[Symbol.dispose]();
    }
    return {
      compressedSizeBytes: this.#pieceOffset,
      uncompressedSizeBytes: this.#uncompressedOffset,
      checkpoints: this.#checkpoints,
    };
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#engine[Symbol.dispose]();
  }

  #pushPiece(piece: Uint8Array): void {
    const engine = this.#engine;
    engine.load(piece);
    while (engine.inputAt < piece.length) {
      const part = this.#part;
      if (part.kind === "deflate") {
        this.#inflate(piece.length);
        continue;
      }
      engine.inputAt = part.reader.push(piece, engine.inputAt);
      if (!part.reader.isDone) continue;
      if (part.kind === "header") this.#startDeflate();
      else this.#endMember(part.reader);
    }
    this.#pieceOffset += piece.length;
  }

  #startDeflate(): void {
    this.#engine.reset();
    this.#memberStart = this.#uncompressedOffset;
    this.#part = { kind: "deflate" };
    this.#visitBoundary(0);
  }

  /** Inflates until the piece is used up or the member's deflate stream ends. */
  #inflate(inputLength: number): void {
    const engine = this.#engine;
    for (;;) {
      const inputBefore = engine.inputAt;
      const outputBefore = engine.outputAt;
      const { stop, outputEnd } = this.#nextStop();
      const outcome = engine.inflate(outputEnd, stop);
      if (outcome === "invalid") {
        throw new FormatError("gzip", this.#compressedOffset, "the data is not deflate");
      }
      this.#uncompressedOffset += engine.outputAt - outputBefore;
      if (outcome === "block") this.#visitBoundary(engine.bits);
      if (outcome === "end") {
        this.#part = { kind: "trailer", reader: new TrailerReader(this.#compressedOffset) };
        return;
      }
      const hasRoom = engine.outputAt < outputEnd;
      if (hasRoom && engine.inputAt === inputLength) return;
      if (hasRoom && engine.inputAt === inputBefore && engine.outputAt === outputBefore) {
        throw new AppError("internal", `Cannot inflate at ${this.#compressedOffset}: no progress`);
      }
      if (engine.outputAt === this.#output.bytes.length) {
        engine.outputAt = this.#output.slide(engine.outputAt);
      }
    }
  }

  /**
   * Blocks are stepped through one by one only where the next boundary can matter. Else the engine runs freely, up to the last
   * byte whose boundary is still too near the last checkpoint.
   */
  #nextStop(): { stop: InflateStop; outputEnd: number } {
    const bufferEnd = this.#output.bytes.length;
    const tooNear = this.#spanStart + this.#options.spanSizeBytes - this.#uncompressedOffset;
    if (this.#uncompressedOffset === 0 || tooNear <= 0) {
      return { stop: "at-block", outputEnd: bufferEnd };
    }
    return { stop: "at-room", outputEnd: Math.min(bufferEnd, this.#engine.outputAt + tooNear) };
  }

  /** A checkpoint may lie here: after a member's header, or between two blocks. */
  #visitBoundary(bits: number): void {
    const isStart = this.#uncompressedOffset === 0;
    if (isStart && this.#checkpointCount > 0) {
      if (this.#options.emptyStart === "merge") return;
      throw new AppError(
        "unimplemented",
        `Cannot index the gzip stream: the block or member that ends at offset ${this.#compressedOffset} is empty, want output before the second checkpoint`,
      );
    }
    const distance = this.#uncompressedOffset - this.#spanStart;
    if (!isStart && distance <= this.#options.spanSizeBytes) return;
    this.#addCheckpoint(bits);
  }

  #addCheckpoint(bits: number): void {
    const limit = this.#options.maxCheckpoints ?? DEFAULT_MAX_CHECKPOINTS;
    if (this.#checkpointCount >= limit) {
      throw new AppError(
        "resource_exhausted",
        `Cannot index the gzip stream: it has over ${limit} spans by offset ${this.#compressedOffset}, want at most so many: a larger span size gives fewer`,
      );
    }
    const end = this.#engine.outputAt;
    const checkpoint: Checkpoint = {
      compressedOffset: this.#compressedOffset,
      uncompressedOffset: this.#uncompressedOffset,
      bits,
      window: this.#output.window(end),
    };
    this.#checkpointCount += 1;
    this.#spanStart = checkpoint.uncompressedOffset;
    if (this.#options.keepsCheckpoints !== false) this.#checkpoints.push(checkpoint);
    this.#output.deliver(end);
    this.#options.onCheckpoint?.(checkpoint);
  }

  #endMember(trailer: TrailerReader): void {
    trailer.verify({
      crc: this.#output.takeCrc(this.#engine.outputAt),
      uncompressedSizeBytes: this.#uncompressedOffset - this.#memberStart,
    });
    this.#part = { kind: "header", reader: new HeaderReader(this.#compressedOffset) };
  }

  get #compressedOffset(): number {
    return this.#pieceOffset + this.#engine.inputAt;
  }

  #requireOpen(): void {
    if (this.#closed) throw new AppError("failed_precondition", "Cannot scan: the scan is closed");
  }
}
