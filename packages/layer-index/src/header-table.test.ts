import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "@soci-ts/core";
import { createTarScan, type TarEntry } from "@soci-ts/tar";
import { buildTar, seededBytes, seededRandom } from "@soci-ts/testkit";
import { HeaderTable } from "./header-table.ts";

const tar = await buildTar([
  { name: "d/", type: "directory", mode: 0o750 },
  ...Array.from({ length: 40 }, (_, i) => ({
    name: `d/${"long-".repeat(i % 3 === 0 ? 40 : 1)}${i}`,
    content: seededBytes(i * 333, i),
    uid: i,
  })),
  { name: "link", type: "symlink" as const, linkname: "d/1" },
]);
const entries: TarEntry[] = [];
const scan = createTarScan({ onEntry: (entry) => entries.push(entry) });
scan.push(tar);
scan.finish();
const honest = HeaderTable.of(entries);

/** Verifies the whole tar in pieces that start at `borders`, split headers included. */
function verifyInPieces(table: HeaderTable, borders: readonly number[]): void {
  for (const [i, start] of borders.entries()) {
    table.verify(tar.subarray(start, borders[i + 1] ?? tar.length), start);
  }
  for (const header of table.splitBy(borders.slice(1))) {
    table.verifySplit(header, tar.subarray(header.start, header.end));
  }
}

test("HeaderTable holds for the tar that it was made of, however that comes in pieces", () => {
  verifyInPieces(honest, [0]);
  const random = seededRandom(3);
  for (let round = 0; round < 200; round += 1) {
    const borders = new Set([0]);
    for (let i = 0; i < 12; i += 1) borders.add(Math.floor(random() * tar.length));
    verifyInPieces(
      honest,
      [...borders].sort((a, b) => a - b),
    );
  }
  verifyInPieces(
    honest,
    Array.from({ length: tar.length / 512 }, (_, i) => i * 512),
  );
});

test("HeaderTable.splitBy() names each header that a border cuts, once", () => {
  const long = entries.find(({ headerOffset, dataOffset }) => dataOffset - headerOffset > 1024);
  assert.ok(long !== undefined);
  const { headerOffset, dataOffset } = long;
  const borders = [headerOffset, headerOffset + 1, headerOffset + 700, dataOffset];
  const split = honest.splitBy(borders);
  assert.deepEqual(
    split.map(({ start, end }) => [start, end]),
    [[headerOffset, dataOffset]],
  );
  assert.ok((split[0]?.dataEnd ?? 0) >= dataOffset + long.sizeBytes);
});

test("HeaderTable.decode() gives back what encode() gave, and refuses half a record", () => {
  const bytes = honest.encode();
  verifyInPieces(HeaderTable.decode(bytes), [0]);
  assert.equal(HeaderTable.decode(bytes).count, entries.length);
  assert.throws(() => HeaderTable.decode(bytes.subarray(1)), FormatError);
});

const LIES: Readonly<Record<string, (entry: TarEntry) => Partial<TarEntry>>> = {
  "another name": () => ({ name: "d/other" as TarEntry["name"] }),
  "another size": ({ sizeBytes }) => ({ sizeBytes: sizeBytes + 1 }),
  "another mode": () => ({ mode: 0o4755 }),
  "another owner": () => ({ uid: 0 }),
  "another time": ({ mtimeSec }) => ({ mtimeSec: mtimeSec + 1 }),
  "another type": () => ({ type: "fifo" }),
  "another place": ({ dataOffset }) => ({ dataOffset: dataOffset + 512 }),
  "a header that starts earlier": ({ headerOffset }) => ({ headerOffset: headerOffset - 512 }),
  "an xattr": ({ paxRecords }) => ({
    paxRecords: new Map([
      ...paxRecords,
      ["SCHILY.xattr.user.a", "b"],
    ]) as unknown as TarEntry["paxRecords"],
  }),
};

for (const [name, lie] of Object.entries(LIES)) {
  test(`HeaderTable notices ${name}`, () => {
    const lying = entries.map((entry, at) => (at === 20 ? { ...entry, ...lie(entry) } : entry));
    assert.throws(() => verifyInPieces(HeaderTable.of(lying), [0, 5000, 90_000]), FormatError);
  });
}

test("HeaderTable notices an entry that is left out, and two that are swapped", () => {
  const without = entries.filter((_, at) => at !== 20);
  // Its neighbour's header then seems to start where the hidden one does, as it would be derived from a ztoc.
  without[20] = { ...(without[20] as TarEntry), headerOffset: entries[20]?.headerOffset ?? 0 };
  assert.throws(() => verifyInPieces(HeaderTable.of(without), [0]), FormatError);
  const swapped = entries.map((entry, at) => ({
    ...entry,
    name: entries[at === 20 ? 21 : at === 21 ? 20 : at]?.name ?? entry.name,
  }));
  assert.throws(() => verifyInPieces(HeaderTable.of(swapped), [0]), FormatError);
});

const DISORDER: Record<string, (record: DataView) => void> = {
  "a fraction": (record) => record.setFloat64(0, 0.5, true),
  "a number past 2^53": (record) => record.setFloat64(0, 2 ** 53, true),
  "no number": (record) => record.setFloat64(0, Number.NaN, true),
  "a place inside the headers before": (record) => record.setFloat64(0, 1, true),
};

for (const [name, change] of Object.entries(DISORDER)) {
  test(`HeaderTable.decode() refuses a record whose offset is ${name}`, () => {
    const bytes = Uint8Array.from(honest.encode());
    change(new DataView(bytes.buffer, 64, 32));
    assert.throws(() => HeaderTable.decode(bytes), { name: "FormatError", offset: 64 });
  });
}

test("HeaderTable.decode() refuses a length that is no number of records", () => {
  const bytes = honest.encode().subarray(1);
  assert.throws(() => HeaderTable.decode(bytes), { name: "FormatError", offset: bytes.length });
});
