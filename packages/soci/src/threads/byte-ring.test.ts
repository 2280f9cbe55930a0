import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes } from "@soci-ts/core";
import { seededBytes, seededRandom } from "@soci-ts/testkit";
import { ByteRing } from "./byte-ring.ts";

describe("ByteRing", () => {
  it("gives what was offered, in order, over its end and back", () => {
    const bytes = seededBytes(5000, 1);
    const next = seededRandom(2);
    const writer = ByteRing.create(64);
    const reader = new ByteRing(writer.memory);
    const got: Uint8Array[] = [];
    for (let at = 0, read = 0; read < bytes.length; ) {
      at += writer.offer(bytes.subarray(at, at + Math.floor(next() * 90)));
      if (at === read) continue;
      const view = reader.view(1 + Math.floor(next() * 50));
      assert.ok(view !== undefined && view.length > 0);
      got.push(view.slice());
      reader.release(view.length);
      read += view.length;
    }
    assert.equal(Buffer.compare(concatBytes(got), bytes), 0);
  });

  it("takes no more than fits, and all of it again when it was read", () => {
    const ring = ByteRing.create(10);
    const bytes = seededBytes(25, 3);
    assert.equal(ring.offer(bytes), 10);
    assert.equal(ring.offer(bytes), 0);
    ring.release(4);
    assert.equal(ring.offer(bytes), 4);
    ring.reset();
    assert.equal(ring.offer(bytes), 10);
  });

  it("is filled in place where the writer asks for its room, up to its end and then from its start", () => {
    const ring = ByteRing.create(10);
    const bytes = Uint8Array.from(seededBytes(14, 4));
    assert.equal(ring.room().length, 10);
    ring.room().set(bytes.subarray(0, 8));
    ring.commit(8);
    assert.deepEqual(ring.view(6), bytes.subarray(0, 6));
    ring.release(6);
    assert.equal(ring.room().length, 2);
    ring.room().set(bytes.subarray(8, 10));
    ring.commit(2);
    ring.room().set(bytes.subarray(10, 14));
    ring.commit(4);
    assert.deepEqual(ring.view(4), bytes.subarray(6, 10));
    ring.release(4);
    assert.deepEqual(ring.view(9), bytes.subarray(10, 14));
    assert.equal(ring.room().length, 6);
    ring.commit(6);
    assert.equal(ring.room().length, 0);
  });

  it("ends after the last byte, and is empty again when reset", () => {
    const ring = ByteRing.create(10);
    ring.offer(Uint8Array.of(1, 2));
    ring.end();
    assert.deepEqual([...(ring.view(9) ?? [])], [1, 2]);
    ring.release(2);
    assert.equal(ring.view(9), undefined);
    ring.reset();
    ring.offer(Uint8Array.of(3));
    assert.deepEqual([...(ring.view(9) ?? [])], [3]);
  });
});
