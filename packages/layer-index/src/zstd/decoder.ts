import { BlockInput } from "./block-input.ts";
import { LiteralsDecoder } from "./literals.ts";
import { type Sequences, SequencesDecoder } from "./sequences.ts";

const MAX_BLOCK_BYTES = 131_072;
/** Shorter pieces are copied faster by a loop than by a call. */
const SHORT_BYTES = 100;

/** Where a block stands, for errors, and where its bytes are. */
export interface ZstdBlock {
  readonly kind: "raw" | "repeat" | "compressed";
  /** Of a compressed one with `BLOCK_PADDING_BYTES` behind them. */
  readonly bytes: Uint8Array;
  /** Of what `bytes` holds, or how often its one byte is repeated. */
  readonly size: number;
  readonly offset: number;
}

/**
 * Decompresses the blocks of zstd frames (RFC 8878 §3.1.1.2), which are found elsewhere. A block gives 128 KiB at most, and its work is in proportion to what it
 * has and gives: sequences that say more are refused before anything is copied. Memory: twice the largest window so far, and some 2 MiB.
 */
export class ZstdDecoder {
  readonly #onOutput: (bytes: Uint8Array) => void;
  readonly #literals = new LiteralsDecoder();
  readonly #sequences = new SequencesDecoder();
  #history = new Uint8Array(0);
  #windowBytes = 0;
  /** Where in `#history` the frame's output starts, as far as it is still there; and where it ends. */
  #start = 0;
  #end = 0;
  readonly #offsets: [number, number, number] = [1, 4, 8];

  /** @param onOutput - takes the output in order; the bytes are valid only during the call. */
  constructor(onOutput: (bytes: Uint8Array) => void) {
    this.#onOutput = onOutput;
  }

  /** A frame starts that looks back so far at most. */
  startFrame(windowBytes: number): void {
    this.#literals.reset();
    this.#sequences.reset();
    this.#offsets.splice(0, 3, 1, 4, 8);
    this.#windowBytes = windowBytes;
    this.#start = 0;
    this.#end = 0;
    const room = 2 * (windowBytes + MAX_BLOCK_BYTES);
    if (this.#history.length < room) this.#history = new Uint8Array(room);
  }

  /** @throws FormatError at a place in the block that is not as it should be. */
  push(block: ZstdBlock): void {
    this.#makeRoom();
    const start = this.#end;
    const { bytes, size } = block;
    if (block.kind === "compressed") {
      this.#decompress(new BlockInput(bytes, size, block.offset));
    } else {
      const target = this.#history.subarray(start, start + size);
      if (block.kind === "raw") target.set(bytes.subarray(0, size));
      else target.fill(bytes[0] as number);
      this.#end += size;
    }
    if (this.#end > start) this.#onOutput(this.#history.subarray(start, this.#end));
  }

  #makeRoom(): void {
    if (this.#end + MAX_BLOCK_BYTES <= this.#history.length) return;
    const from = Math.max(this.#start, this.#end - this.#windowBytes);
    this.#history.copyWithin(0, from, this.#end);
    this.#start = 0;
    this.#end -= from;
  }

  #decompress(input: BlockInput): void {
    const literals = this.#literals.decode(input);
    const sequences = this.#sequences.decode(input);
    verifySize(input, literals, sequences);
    const history = this.#history;
    const frameStart = this.#start;
    let end = this.#end;
    let taken = 0;
    for (let at = 0; at < sequences.count; at += 1) {
      const count = sequences.literals[at] as number;
      copy(history, end, literals, taken, count);
      taken += count;
      end += count;
      const offset = this.#offsetOf(sequences.offsets[at] as number, count);
      const most = Math.min(end - frameStart, this.#windowBytes);
      if (offset < 1 || offset > most)
        input.fail(`a match lies ${offset} bytes back, want 1 to ${most}`);
      copyMatch(history, end, offset, sequences.matches[at] as number);
      end += sequences.matches[at] as number;
    }
    copy(history, end, literals, taken, literals.length - taken);
    this.#end = end + literals.length - taken;
  }

  /** The offset that a value stands for: one of its own, or one of the last three. */
  #offsetOf(value: number, literals: number): number {
    const last = this.#offsets;
    if (value > 3) {
      last[2] = last[1];
      last[1] = last[0];
      last[0] = value - 3;
      return last[0];
    }
    const which = value - (literals === 0 ? 0 : 1);
    if (which === 0) return last[0];
    const offset = which === 3 ? last[0] - 1 : (last[which] as number);
    if (which > 1) last[2] = last[1];
    last[1] = last[0];
    last[0] = offset;
    return offset;
  }
}

function copy(
  target: Uint8Array,
  to: number,
  source: Uint8Array,
  from: number,
  count: number,
): void {
  if (count > SHORT_BYTES) target.set(source.subarray(from, from + count), to);
  else for (let at = 0; at < count; at += 1) target[to + at] = source[from + at] as number;
}

/** A match may reach into itself, and then repeats. */
function copyMatch(history: Uint8Array, end: number, offset: number, count: number): void {
  const from = end - offset;
  if (count > SHORT_BYTES && offset >= count) history.copyWithin(end, from, from + count);
  else for (let at = 0; at < count; at += 1) history[end + at] = history[from + at] as number;
}

/** All that the sequences say together, before any of it is done. */
function verifySize(input: BlockInput, literals: Uint8Array, sequences: Sequences): void {
  let taken = 0;
  let matched = 0;
  for (let at = 0; at < sequences.count; at += 1) {
    taken += sequences.literals[at] as number;
    matched += sequences.matches[at] as number;
  }
  if (taken > literals.length)
    input.fail(`a block takes ${taken} literals, want at most the ${literals.length} it has`);
  if (literals.length + matched > MAX_BLOCK_BYTES) {
    const size = literals.length + matched;
    input.fail(`a block holds ${size} bytes, want at most ${MAX_BLOCK_BYTES}`);
  }
}
