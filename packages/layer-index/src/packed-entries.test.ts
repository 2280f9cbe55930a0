import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ByteString } from "@soci-ts/core";
import { TAR_ENTRY_TYPES, type TarEntry, type TarEntryType } from "@soci-ts/tar";
import { seededRandom } from "@soci-ts/testkit";
import { PackedEntries } from "./packed-entries.ts";

const LARGEST = Number.MAX_SAFE_INTEGER;

/** Entries whose numbers and strings lie at their bounds and between. */
function randomEntries(count: number): TarEntry[] {
  const next = seededRandom(7);
  const below = (limit: number): number => Math.floor(next() ** 8 * limit);
  const text = (most: number): ByteString =>
    String.fromCharCode(...Array.from({ length: below(most) }, () => below(256))) as ByteString;
  return Array.from({ length: count }, (_, at) => {
    const headerOffset = below(LARGEST / 2);
    return {
      name: text(at % 50 === 0 ? 16_384 : 100),
      type: TAR_ENTRY_TYPES[at % TAR_ENTRY_TYPES.length] as TarEntryType,
      headerOffset,
      dataOffset: headerOffset + below(2_000_000),
      sizeBytes: below(LARGEST),
      linkname: text(100),
      mode: below(2 ** 32),
      uid: below(2 ** 32),
      gid: below(2 ** 32),
      uname: text(4),
      gname: text(4),
      mtimeSec: at % 2 === 0 ? below(LARGEST) : -1 - below(LARGEST - 1),
      mtimeNsec: below(1e9),
      devmajor: below(2 ** 31) - (at % 3),
      devminor: below(2 ** 31),
      paxRecords: new Map(
        Array.from({ length: below(5) }, (_, n) => [`key${n}` as ByteString, text(400)]),
      ),
    };
  });
}

describe("PackedEntries", () => {
  it("gives back what was put in, in any order", () => {
    const entries = randomEntries(5000);
    const packed = new PackedEntries();
    for (const entry of entries) packed.push(entry);
    assert.equal(packed.length, entries.length);
    for (let at = entries.length - 1; at >= 0; at -= 1) {
      assert.deepEqual({ ...packed.at(at) }, { ...entries[at] });
    }
    assert.deepEqual([...packed].length, entries.length);
    assert.equal(packed.at(entries.length), undefined);
    assert.equal(packed.at(-1), undefined);
    packed.forget(3000);
    assert.equal(packed.at(3000), undefined);
    assert.deepEqual({ ...packed.at(2999) }, { ...entries[2999] });
    packed.forget(0);
    assert.equal(packed.at(0), undefined);
  });
});
