import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "@soci-ts/testkit";
import { Builder } from "flatbuffers";
import { FlatWriter, joined } from "./flat-writer.ts";

/** An integer from 0 up to the bound, itself not included. */
type Below = (bound: number) => number;

/** Both writers are told the same; each returns where it wrote. */
interface Pair {
  readonly ours: FlatWriter;
  readonly theirs: Builder;
}

/** Where something is in the one, and in the other. */
type Place = readonly [number, number];

const FIELDS = 9;

function string({ ours, theirs }: Pair, below: Below): Place {
  const text = "abcdefghijkl".slice(0, below(12));
  return [ours.string(text), theirs.createString(text)];
}

function vector({ ours, theirs }: Pair, places: readonly Place[]): Place {
  theirs.startVector(4, places.length, 4);
  for (const [, place] of places.toReversed()) theirs.addOffset(place);
  return [ours.offsets(places.map(([place]) => place)), theirs.endVector()];
}

function blob({ ours, theirs }: Pair, below: Below): Place {
  const bytes = new Uint8Array(below(40)).fill(7);
  const halves = [bytes.subarray(0, 3), bytes.subarray(3)];
  return [
    ours.blob({ sizeBytes: bytes.length, pieces: () => halves }),
    theirs.createByteVector(bytes),
  ];
}

function table({ ours, theirs }: Pair, places: readonly Place[], below: Below): Place {
  ours.startTable(FIELDS);
  theirs.startObject(FIELDS);
  for (let slot = 0; slot < FIELDS; slot += 1) {
    const value = below(3) * (below(2) - 1) * below(1000);
    const large = value * (below(2) === 0 ? 1 : 2 ** 40);
    const [our, their] = places[below(places.length)] ?? [0, 0];
    switch (below(5)) {
      case 0:
        ours.int8(slot, value % 100, 1);
        theirs.addFieldInt8(slot, value % 100, 1);
        break;
      case 1:
        ours.int32(slot, value);
        theirs.addFieldInt32(slot, value, 0);
        break;
      case 2:
        ours.int64(slot, large);
        theirs.addFieldInt64(slot, BigInt(large), 0n);
        break;
      case 3:
        ours.offset(slot, our);
        theirs.addFieldOffset(slot, their, 0);
        break;
      default: // a field that is absent
    }
  }
  return [ours.endTable(), theirs.endObject()];
}

describe("FlatWriter", () => {
  it("gives the bytes of the library's builder, whatever it is told", () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const random = seededRandom(seed);
      const below: Below = (bound) => Math.floor(random() * bound);
      const pair = { ours: new FlatWriter(), theirs: new Builder(16) };
      const places = [string(pair, below), blob(pair, below)];
      for (let left = below(30); left >= 0; left -= 1) {
        if (below(2) === 0) places.push(string(pair, below));
        if (below(8) === 0) places.push(blob(pair, below));
        if (below(4) === 0) places.push(vector(pair, places.slice(0, below(9))));
        places.push(table(pair, places, below));
      }
      const [our, their] = table(pair, places, below);
      pair.ours.finish(our);
      pair.theirs.finish(their);
      const bytes = joined(pair.ours);
      assert.deepEqual(Buffer.from(bytes), Buffer.from(pair.theirs.asUint8Array()), `seed ${seed}`);
      assert.equal(pair.ours.sizeBytes, bytes.length);
    }
  });

  it("goes on in new memory where what it has is full", () => {
    const pair = { ours: new FlatWriter(), theirs: new Builder(16) };
    const text = "x".repeat(300_000);
    const places = Array.from(
      { length: 20 },
      (): Place => [pair.ours.string(text), pair.theirs.createString(text)],
    );
    const [our, their] = vector(pair, places);
    pair.ours.startTable(1);
    pair.ours.offset(0, our);
    pair.ours.finish(pair.ours.endTable());
    pair.theirs.startObject(1);
    pair.theirs.addFieldOffset(0, their, 0);
    pair.theirs.finish(pair.theirs.endObject());
    assert.ok(Buffer.from(pair.theirs.asUint8Array()).equals(joined(pair.ours)));
  });
});
