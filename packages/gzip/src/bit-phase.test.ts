import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { alignToByte } from "./bit-phase.ts";
import { fileLikeBytes } from "./testing/random.ts";

/** `bytes` with `shift` rubbish bits in front. */
function shifted(bytes: Uint8Array, shift: number): Uint8Array {
  const out = new Uint8Array(bytes.length + 1).fill((1 << shift) - 1, 0, 1);
  for (const [index, byte] of bytes.entries()) {
    out[index] = (out[index] ?? 0) | ((byte << shift) & 255);
    out[index + 1] = byte >>> (8 - shift);
  }
  return out;
}

describe("alignToByte()", () => {
  const plain = fileLikeBytes(5000, 1);

  for (let bits = 1; bits <= 7; bits++) {
    it(`keeps what ${bits} bits of the first byte begin`, () => {
      const compressed = shifted(deflateRawSync(plain), 8 - bits);
      const { head, rest } = alignToByte(compressed, bits);
      const aligned = Buffer.concat([head, rest]);
      const finishFlush = constants.Z_SYNC_FLUSH;
      assert.equal(Buffer.compare(inflateRawSync(aligned, { finishFlush }), plain), 0);
      assert.ok(aligned.length - compressed.length <= 16);
    });
  }

  it("returns data on a byte border as it is", () => {
    const { head, rest } = alignToByte(plain, 0);
    assert.deepEqual([head.length, rest], [0, plain]);
  });

  it("leaves its argument unchanged", () => {
    const copy = plain.slice();
    alignToByte(plain, 3);
    assert.deepEqual(plain, copy);
  });
});
