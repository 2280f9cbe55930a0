import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type Checkpoint, WINDOW_BYTES } from "@soci-ts/gzip";

/** Checkpoints of a layer, in order; an array of them is one. */
export interface CheckpointSequence extends Iterable<Checkpoint> {
  readonly length: number;
}

/** Windows of this size in all stay as they are: a layer of 2 GiB has so many, and packing costs most of a millisecond for each. */
const RAW_BYTES = 16_777_216;
/** The fastest: others win a tenth of the room, for twice the time. */
const LEVEL = 1;

/**
 * Many checkpoints in less memory: the windows of a large layer are compressed while they wait for its end. Each checkpoint is made anew
 * whenever it is asked for.
 */
export class PackedCheckpoints implements CheckpointSequence {
  readonly #checkpoints: Checkpoint[] = [];

  get length(): number {
    return this.#checkpoints.length;
  }

  /** Adds a checkpoint at the end. */
  push(checkpoint: Checkpoint): void {
    const { window, ...where } = checkpoint;
    if (!this.#isPacked(this.length)) {
      this.#checkpoints.push(checkpoint);
      return;
    }
    // A copy: what zlib gives lies in 16 KiB, however little of that it fills.
    const packed = new Uint8Array(deflateRawSync(window, { level: LEVEL }));
    this.#checkpoints.push({ ...where, window: packed });
  }

  *[Symbol.iterator](): Generator<Checkpoint> {
    for (const [at, checkpoint] of this.#checkpoints.entries()) {
      yield this.#isPacked(at)
        ? { ...checkpoint, window: inflateRawSync(checkpoint.window) }
        : checkpoint;
    }
  }

  #isPacked(at: number): boolean {
    return at >= RAW_BYTES / WINDOW_BYTES;
  }
}
