import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Checkpoint, WINDOW_BYTES } from "@soci-ts/gzip";
import { PackedCheckpoints } from "./packed-checkpoints.ts";

/** More than are kept as they are. */
const COUNT = 600;

function checkpoint(at: number): Checkpoint {
  return {
    compressedOffset: at * 100,
    uncompressedOffset: at * 1000,
    bits: at % 8,
    window: new Uint8Array(WINDOW_BYTES).fill(at),
  };
}

describe("PackedCheckpoints", () => {
  it("gives what was put in, in order, as often as it is asked", () => {
    const packed = new PackedCheckpoints();
    for (let at = 0; at < COUNT; at += 1) packed.push(checkpoint(at));
    assert.equal(packed.length, COUNT);
    for (let time = 0; time < 2; time += 1) {
      let at = 0;
      for (const { window, ...where } of packed) {
        const { window: wanted, ...place } = checkpoint(at);
        assert.deepEqual(where, place);
        assert.ok(Buffer.from(window).equals(wanted));
        at += 1;
      }
      assert.equal(at, COUNT);
    }
  });
});
