import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, concatBytes } from "@soci-ts/core";
import {
  block,
  data,
  END,
  gnuLong,
  MAGIC,
  pax,
  type Scanned,
  scan,
  sealBlock,
  seededRandom,
} from "./testing/archive.ts";

const ARCHIVE = concatBytes([
  pax([
    ["path", "long/name"],
    ["mtime", "1.5"],
    ["SCHILY.xattr.user.a", "\xff\0"],
  ]),
  block({ size: 5 }),
  data("hello"),
  gnuLong("L", "a/long/name\0"),
  block({ magic: MAGIC.gnu, flag: "2", linkname: "x", uid: "\x80\0\0\0\0\0\0\x07" }),
  block({ name: "d/", flag: "5" }),
  block({ extra: { 476: "00000000001\0", 488: "00000000001\0", 508: "tar\0" } }),
  END,
]);
/** Bytes that mean something somewhere in a header. */
const TELLING = Buffer.from("\0 0178gxLKS\x80\xff\xc0=\n+-.", "latin1");
const RUNS = 30_000;

const random = seededRandom(20261122);
const pick = (count: number): number => Math.floor(random() * count);

function mutated(): Uint8Array {
  const bytes = Uint8Array.from(ARCHIVE);
  for (let change = pick(4); change >= 0; change -= 1) {
    const start = pick(bytes.length / 512) * 512;
    bytes[start + pick(512)] = random() < 0.7 ? TELLING[pick(TELLING.length)]! : pick(256);
    if (random() < 0.8) sealBlock(bytes, start);
  }
  return random() < 0.2 ? bytes.subarray(0, pick(bytes.length)) : bytes;
}

function verify({ entries, endOffset }: Scanned, length: number): void {
  let end = 0;
  for (const { type, headerOffset, dataOffset, sizeBytes } of entries) {
    assert.ok(headerOffset >= end && dataOffset >= headerOffset + 512);
    assert.ok(dataOffset % 512 === 0 && sizeBytes >= 0);
    end = dataOffset + (type === "reg" ? sizeBytes : 0);
  }
  assert.ok(end <= endOffset && endOffset <= length);
}

describe("createTarScan() on hostile input", () => {
  it("gives entries or a typed error for any mutation, within the archive", () => {
    let accepted = 0;
    for (let run = 0; run < RUNS; run += 1) {
      const archive = mutated();
      try {
        verify(scan(archive), archive.length);
        accepted += 1;
      } catch (error) {
        assert.ok(error instanceof AppError, `run ${run}: ${String(error)}`);
        assert.ok(["data_loss", "resource_exhausted", "unimplemented"].includes(error.code));
      }
    }
    assert.ok(accepted > RUNS / 10, `${accepted} of ${RUNS} were still archives`);
  });
});
