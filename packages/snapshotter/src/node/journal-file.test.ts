import assert from "node:assert/strict";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { crc32 } from "node:zlib";
import { type Logger, silentLogger } from "@soci-ts/core";
import { JOURNAL_BYTES, RequestJournal } from "@soci-ts/fuse";
import { openJournalFile } from "./journal-file.ts";

interface Bench {
  readonly path: string;
  readonly errors: string[];
  readonly logger: Logger;
}

function open(t: TestContext): Bench {
  const directory = mkdtempSync(join(tmpdir(), "soci-journal-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const errors: string[] = [];
  const error = (text: string): void => void errors.push(text);
  return { path: join(directory, "journal"), errors, logger: { ...silentLogger, error } };
}

const WAYS = [
  ["mapped", undefined],
  ["where nothing can be mapped", () => undefined],
] as const;

/** READ #6 of node 2. */
function readRequest(): Uint8Array {
  const message = Buffer.alloc(80);
  message.writeUInt32LE(80, 0);
  message.writeUInt32LE(15, 4);
  message.writeBigUInt64LE(6n, 8);
  message.writeBigUInt64LE(2n, 16);
  return message;
}

describe("openJournalFile()", () => {
  for (const [name, map] of WAYS) {
    it(`keeps what is taken on in the file: ${name}`, (t) => {
      const { path, errors, logger } = open(t);
      const options = map === undefined ? { path, logger } : { path, logger, map };
      const memory = openJournalFile(options);
      assert.ok(memory !== undefined);
      const journal = new RequestJournal(memory, "killed", logger);
      journal.take(readRequest(), 6n);
      const file = { bytes: new Uint8Array(readFileSync(path)) };
      assert.equal(new RequestJournal(file, "killed").records.length, 1);
      const again = openJournalFile(options);
      assert.ok(again !== undefined);
      assert.equal(new RequestJournal(again, "killed", logger).records.length, 1);
      assert.deepEqual(errors, []);
      assert.equal(statSync(path).mode % 0o1000, 0o600);
    });
  }

  it("makes a file of a wrong length anew, and says so", (t) => {
    const { path, errors, logger } = open(t);
    writeFileSync(path, "torn");
    const old = openSync(path, "r");
    t.after(() => closeSync(old));
    assert.equal(openJournalFile({ path, logger })?.bytes.length, JOURNAL_BYTES);
    assert.equal(readFileSync(old, "utf8"), "torn", "who has it open keeps the old one");
    assert.equal(errors.length, 1);
  });

  it("fills a file with holes: its pages can be had", (t) => {
    const { path, logger } = open(t);
    writeFileSync(path, "");
    truncateSync(path, JOURNAL_BYTES);
    assert.ok(openJournalFile({ path, logger }) !== undefined);
    assert.ok(statSync(path).blocks * 512 >= JOURNAL_BYTES);
  });

  it("refuses a newer format, whatever its length, and leaves it", (t) => {
    const { path, logger } = open(t);
    const header = Buffer.alloc(100);
    header.write("SOCIJRNL");
    header.writeUInt32LE(2, 8);
    header.writeUInt32LE(crc32(header.subarray(0, 32)), 32);
    writeFileSync(path, header);
    assert.throws(() => openJournalFile({ path, logger }), { code: "failed_precondition" });
    assert.ok(readFileSync(path).equals(header));
  });

  it("does without where no file can be made, and says so", (t) => {
    const { path, errors, logger } = open(t);
    assert.equal(openJournalFile({ path: join(path, "no", "where"), logger }), undefined);
    assert.equal(errors.length, 1);
  });
});
