import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 as crcOf } from "node:zlib";
import { type LogFields, type Logger, silentLogger } from "@soci-ts/core";
import { type PredecessorEnd, RequestJournal } from "./journal.ts";
import {
  JOURNAL_BYTES,
  JOURNAL_HEADER,
  JOURNAL_OFFSETS,
  JOURNAL_SLOT,
  JOURNAL_SLOTS,
  MAX_MESSAGE_BYTES,
  refuseNewerJournal,
  SLOT_BYTES,
  slotOffset,
} from "./journal-format.ts";
import { layOut } from "./struct.ts";
import { readMessage } from "./testing/fake-kernel.ts";
import { message, nameBytes } from "./testing/messages.ts";

function open(bytes: Uint8Array, predecessor: PredecessorEnd = "killed"): RequestJournal {
  return new RequestJournal({ bytes }, predecessor);
}

/** A journal with a request for each `unique`, which a server had begun to work on. */
function journalOf(...uniques: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(JOURNAL_BYTES);
  const journal = open(bytes);
  for (const unique of uniques) {
    const { slot } = journal.take(readMessage(unique, 2, 0, 10), unique);
    if (slot !== undefined) journal.begin(slot);
  }
  return bytes;
}

function errorsOf(work: (logger: Logger) => void): readonly string[] {
  const errors: string[] = [];
  const error = (text: string, _fields?: LogFields): void => void errors.push(text);
  work({ ...silentLogger, error });
  return errors;
}

describe("journal-format.ts", () => {
  for (const table of [JOURNAL_HEADER, JOURNAL_SLOT]) {
    it(`${table.name} has ${table.sizeBytes} bytes, with its fields where they are said to be`, () => {
      const offsets = table === JOURNAL_SLOT ? JOURNAL_OFFSETS.slot : JOURNAL_OFFSETS.header;
      for (const { name, offset } of layOut(table)) {
        if (name in offsets) assert.equal(offsets[name as keyof typeof offsets], offset, name);
      }
    });
  }

  it("has the sizes that FORMAT.md says", () => {
    assert.equal(JOURNAL_OFFSETS.slot.message, JOURNAL_SLOT.sizeBytes);
    assert.equal(MAX_MESSAGE_BYTES, 488);
    assert.equal(slotOffset(0), 528_384);
    assert.equal(JOURNAL_BYTES, 2_625_536);
  });
});

describe("RequestJournal", () => {
  it("keeps requests until they are freed", () => {
    const bytes = new Uint8Array(JOURNAL_BYTES);
    const journal = open(bytes);
    const first = journal.take(readMessage(6n, 2, 0, 10), 6n);
    const name = "n".repeat(255);
    journal.take(message("LOOKUP", 8n, 1, nameBytes(name)), 8n);
    assert.ok(first.slot !== undefined);
    journal.free(first.slot);
    const { records, received } = open(bytes.slice());
    assert.deepEqual(
      records.map(({ key, begun, verdict }) => [key, begun, verdict]),
      [[8n, 0, "innocent"]],
    );
    assert.deepEqual(Buffer.from(records[0]!.message), message("LOOKUP", 8n, 1, nameBytes(name)));
    assert.deepEqual(received, []);
  });

  it("finds what was received and not taken on, interrupts last, also what came late", () => {
    const bytes = new Uint8Array(JOURNAL_BYTES);
    const dying = open(bytes);
    const [first, second] = dying.buffers;
    first!.set(message("INTERRUPT", 7n, 0, nameBytes("6.......").subarray(0, 8)));
    second!.set(readMessage(8n, 2, 0, 10));
    const journal = open(bytes);
    assert.deepEqual(
      journal.received.map((found) => found[8]),
      [8, 7],
    );
    assert.deepEqual(journal.takeLate(), []);
    second!.set(readMessage(10n, 2, 0, 10));
    journal.buffers[0]!.set(readMessage(12n, 2, 0, 10));
    assert.deepEqual(
      journal.takeLate().map((found) => found[8]),
      [10],
    );
    assert.deepEqual(journal.takeLate(), []);
    assert.deepEqual(
      open(bytes).received.map((found) => found[8]),
      [12],
    );
  });

  it("serves what does not fit without a slot", () => {
    const journal = open(new Uint8Array(JOURNAL_BYTES));
    const long = message("LOOKUP", 2n, 1, nameBytes("n".repeat(MAX_MESSAGE_BYTES)));
    assert.equal(journal.take(long, 2n).slot, undefined);
    for (let at = 0; at < JOURNAL_SLOTS; at += 1) {
      const unique = BigInt(at + 2) * 2n;
      assert.notEqual(journal.take(readMessage(unique, 2, 0, 10), unique).slot, undefined);
    }
    assert.equal(journal.take(readMessage(2n, 2, 0, 10), 2n).slot, undefined);
    journal.free(7);
    assert.equal(journal.take(readMessage(2n, 2, 0, 10), 2n).slot, 7);
  });

  it("writes a copy back as it changes", () => {
    const bytes = new Uint8Array(JOURNAL_BYTES);
    const file = new Uint8Array(JOURNAL_BYTES);
    const written = (start: number, end: number): void => {
      file.set(bytes.subarray(start, end), start);
    };
    const journal = new RequestJournal({ bytes, written }, "killed");
    const { slot = 0 } = journal.take(readMessage(6n, 2, 0, 10), 6n);
    journal.take(readMessage(8n, 2, 0, 10), 8n);
    journal.begin(slot);
    journal.markCrashed();
    assert.deepEqual(file, bytes);
    journal.free(slot);
    const { records } = new RequestJournal({ bytes: file }, "killed");
    assert.deepEqual(
      records.map(({ key }) => key),
      [8n],
    );
  });

  it("counts a crash against what was being worked on, and a kill against nothing", () => {
    const bytes = journalOf(2n, 4n);
    const crashesOf = (end: PredecessorEnd): number[] =>
      open(bytes, end).records.map(({ crashes }) => crashes);
    assert.deepEqual(crashesOf("crashed"), [1, 1]);
    assert.deepEqual(crashesOf("crashed"), [1, 1], "nobody had begun again");
    for (let kill = 0; kill < 10; kill += 1) {
      const journal = open(bytes, "killed");
      for (const { slot } of journal.records) journal.begin(slot);
    }
    const last = open(bytes, "killed");
    assert.deepEqual(
      last.records.map(({ crashes, verdict }) => [crashes, verdict]),
      [
        [1, "innocent"],
        [1, "innocent"],
      ],
    );
    for (const { slot } of last.records) last.begin(slot);
    last.markCrashed();
    assert.deepEqual(
      open(bytes, "killed").records.map(({ verdict }) => verdict),
      ["suspect", "suspect"],
    );
  });

  it("convicts at the third crash who was worked on alone; who began last is tried first", () => {
    const bytes = journalOf(2n, 4n);
    const crash = (...keys: readonly bigint[]): readonly unknown[] => {
      const journal = open(bytes, "crashed");
      for (const { key, slot } of journal.records) if (keys.includes(key)) journal.begin(slot);
      return journal.records.map((record) => [record.key, record.verdict]);
    };
    crash(2n, 4n);
    assert.deepEqual(crash(4n, 2n), [
      [2n, "suspect"],
      [4n, "suspect"],
    ]);
    assert.deepEqual(crash(2n), [
      [4n, "suspect"],
      [2n, "suspect"],
    ]);
    const expected = [
      [2n, "guilty"],
      [4n, "suspect"],
    ];
    assert.deepEqual(crash(), expected);
    assert.deepEqual(new Set(crash().map(String)), new Set(expected.map(String)), "it stays so");
  });

  it("knows a request that is sent again, and forgets those that are not", () => {
    const bytes = journalOf(2n, 4n);
    const journal = open(bytes, "crashed");
    const resent = 2n | (1n << 63n);
    const { slot, crashes } = journal.take(readMessage(resent, 2, 0, 10), resent);
    assert.deepEqual([slot, crashes], [0, 1]);
    journal.forgetUnclaimed();
    assert.deepEqual(
      open(bytes).records.map(({ key }) => key),
      [2n],
    );
  });
});

describe("RequestJournal of a damaged file", () => {
  it("is begun anew, and says so, whichever byte of its header is wrong", () => {
    for (let at = 0; at < JOURNAL_OFFSETS.header.check + 4; at += 1) {
      const bytes = journalOf(2n);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      const errors = errorsOf((logger) => {
        const journal = new RequestJournal({ bytes }, "crashed", logger);
        assert.deepEqual(journal.records, []);
        assert.equal(journal.take(readMessage(2n, 2, 0, 10), 2n).slot, 0);
      });
      assert.equal(errors.length, 1, `byte ${at}`);
    }
  });

  it("is silent about a new file", () => {
    const bytes = new Uint8Array(JOURNAL_BYTES);
    assert.deepEqual(
      errorsOf((logger) => new RequestJournal({ bytes }, "killed", logger)),
      [],
    );
  });

  it("drops a record that is torn after any byte, and keeps the others", () => {
    const whole = journalOf(2n, 4n);
    const start = slotOffset(0);
    const length = JOURNAL_OFFSETS.slot.message + 80;
    for (let at = JOURNAL_OFFSETS.slot.message; at < length; at += 1) {
      const bytes = whole.slice();
      bytes.fill(0xa5, start + at, start + length);
      if (bytes[start + length - 1] === whole[start + length - 1]) continue;
      const errors = errorsOf((logger) => {
        const { records } = new RequestJournal({ bytes }, "crashed", logger);
        assert.deepEqual(
          records.map(({ key }) => key),
          [4n],
          `byte ${at}`,
        );
      });
      assert.equal(errors.length, 1);
    }
  });

  it("drops what is no request that is answered, and what stands there twice", () => {
    const bytes = new Uint8Array(JOURNAL_BYTES);
    const journal = open(bytes);
    journal.take(readMessage(2n, 2, 0, 10), 2n);
    journal.take(readMessage(2n, 2, 0, 10), 2n);
    journal.take(readMessage(0n, 2, 0, 10), 0n);
    journal.take(message("FORGET", 6n, 2, new Uint8Array(8)), 6n);
    journal.take(message("LOOKUP", 8n, 2, nameBytes("")), 8n);
    assert.deepEqual(
      open(bytes).records.map(({ key }) => key),
      [2n],
    );
    assert.equal(open(bytes).records.length, 1);
  });

  it("survives any change of its slots", () => {
    let state = 7;
    const next = (bound: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % bound;
    };
    for (let round = 0; round < 50; round += 1) {
      const bytes = journalOf(2n, 4n, 6n);
      for (let change = 0; change < 20; change += 1) {
        bytes[JOURNAL_OFFSETS.header.servers + next(8)] = next(256);
        bytes[slotOffset(next(4)) + next(SLOT_BYTES)] = next(256);
        bytes[4096 + next(131_072)] = next(256);
      }
      const { records } = open(bytes, "crashed");
      const original = Buffer.from(journalOf(2n, 4n, 6n));
      for (const record of records) assert.ok(original.includes(Buffer.from(record.message)));
    }
  });

  it("of a newer format is refused and left alone", () => {
    const bytes = journalOf(2n);
    const newer = Buffer.from(bytes);
    newer.writeUInt32LE(2, 8);
    newer.writeUInt32LE(crcOf(newer.subarray(0, 32)), 32);
    const before = Buffer.from(newer);
    assert.throws(() => open(newer), { code: "failed_precondition" });
    assert.ok(newer.equals(before));
    const head = newer.subarray(0, JOURNAL_HEADER.sizeBytes);
    assert.throws(() => refuseNewerJournal(head), { code: "failed_precondition" });
    for (const fine of [bytes.subarray(0, 48), head.subarray(0, 47), Buffer.alloc(48)]) {
      refuseNewerJournal(fine);
    }
  });
});
