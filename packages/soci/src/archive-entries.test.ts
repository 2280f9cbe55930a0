import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { buildTar, seededRandom } from "@soci-ts/testkit";
import { type ArchiveEntries, ArchiveScan } from "./archive-entries.ts";

const NAMES = ["index.json", "a/layer.tar", "b/layer.tar", "c/layer.tar", "blobs/x"] as const;

async function archive(): Promise<Buffer> {
  const bytes = await buildTar([
    { name: "./index.json", content: "{}" },
    { name: "a/", type: "directory" },
    { name: "a/layer.tar", content: "x".repeat(700) },
    { name: "b/layer.tar", type: "symlink", linkname: "../a/layer.tar" },
    { name: "c/layer.tar", type: "link", linkname: "b/layer.tar" },
    { name: "blobs/x", content: "old" },
    { name: "blobs/x", content: "newest" },
    { name: `long/${"n".repeat(200)}`, content: "y" },
  ]);
  return Buffer.from(bytes);
}

function scan(bytes: Uint8Array): ArchiveEntries {
  const scanning = new ArchiveScan("test");
  scanning.push(bytes);
  return scanning.finish();
}

describe("ArchiveScan", () => {
  it("finds files by clean names, the last of equal ones, through links if asked", async () => {
    const bytes = await archive();
    const entries = scan(bytes);
    const read = ({ offset, sizeBytes }: { offset: number; sizeBytes: number }): string =>
      bytes.toString("latin1", offset, offset + sizeBytes);
    assert.equal(read(entries.file("index.json")), "{}");
    assert.equal(read(entries.file("blobs/x")), "newest");
    assert.equal(read(entries.follow("c/layer.tar")), "x".repeat(700));
    assert.throws(() => entries.file("b/layer.tar"), /it is a link, want a file/);
    assert.throws(() => entries.file("a"), /not a regular file/);
    assert.throws(() => entries.file("nothing"), { code: "not_found" });
    assert.ok(entries.has("a") && !entries.has("nothing"));
  });

  it("gives a typed error, or files inside the archive, for every truncation", async () => {
    const bytes = await archive();
    for (let length = 0; length < bytes.length; length += 7) check(bytes.subarray(0, length));
  });

  it("gives a typed error, or files inside the archive, for any mutation", async () => {
    const bytes = await archive();
    const random = seededRandom(17);
    for (let round = 0; round < 4000; round += 1) {
      const mutated = Buffer.from(bytes);
      const changes = 1 + Math.floor(random() * 3);
      const block = 512 * Math.floor((random() * bytes.length) / 512);
      for (let change = 0; change < changes; change += 1) {
        mutated.writeUInt8(Math.floor(random() * 256), block + Math.floor(random() * 345));
      }
      // Half of them with a checksum that is right, or nothing behind it would ever be reached.
      if (random() < 0.5) seal(mutated, block);
      check(mutated);
    }
  });
});

function check(bytes: Uint8Array): void {
  try {
    const entries = scan(bytes);
    for (const name of NAMES) {
      const { offset, sizeBytes } = entries.follow(name);
      assert.ok(offset + sizeBytes <= bytes.length, name);
    }
  } catch (error) {
    assert.ok(error instanceof AppError, String(error));
    assert.notEqual(error.code, "internal");
  }
}

function seal(bytes: Buffer, start: number): void {
  const header = bytes.subarray(start, start + 512);
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}
