// What writing requests down costs: READs of 4 KiB from memory through a whole session, with no kernel behind it. Rounds alternate.
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  FuseError,
  type FuseHandler,
  FuseSession,
  JOURNAL_BYTES,
  type JournalMemory,
  RequestJournal,
  rehearsalChannel,
} from "@soci-ts/fuse";
import { mapShared } from "@soci-ts/linux";
import { printTable } from "./table.ts";

const READS = 20_000;
const ROUNDS = 5;
const READ_BYTES = 4096;

const bytes = new Uint8Array(READ_BYTES);
const refuse = (): never => {
  throw new FuseError(38);
};
const handler: FuseHandler = {
  lookup: refuse,
  getAttributes: refuse,
  readLink: refuse,
  read: () => bytes,
  readDirectory: refuse,
  getXattr: refuse,
  listXattrs: refuse,
};

function* reads(): Generator<{ nodeId: number; offset: number; sizeBytes: number }> {
  for (let at = 0; at < READS; at += 1) {
    yield { nodeId: 2, offset: at * READ_BYTES, sizeBytes: READ_BYTES };
  }
}

/** Microseconds of processor time a request, which other processes on the machine hardly change. */
async function measure(memory: JournalMemory | undefined): Promise<number> {
  const session = new FuseSession({
    channel: rehearsalChannel(reads()),
    handler,
    negotiated: { minor: 41, maxReadaheadBytes: 0, flags: [] },
    journal: memory && new RequestJournal(memory, "killed"),
    readers: 8, // as many as the journal has buffers
  });
  const started = process.cpuUsage();
  await session.run();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / READS;
}

const directory = mkdtempSync("/dev/shm/soci-bench-");
const fd = openSync(join(directory, "journal"), "wx+");
try {
  const copy = new Uint8Array(JOURNAL_BYTES);
  writeSync(fd, copy);
  const mapped = mapShared(fd, JOURNAL_BYTES);
  const written = (start: number, end: number): void => {
    writeSync(fd, copy, start, end - start, start);
  };
  const ways = [
    ["no journal", undefined],
    ...(mapped === undefined ? [] : [["journal, mapped", { bytes: mapped }] as const]),
    ["journal, written", { bytes: copy, written }],
  ] as const;
  const best = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, memory] of ways) {
      best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, await measure(memory)));
    }
  }
  printTable(
    ["READs of 4 KiB, best of rounds", "µs of processor each", "a second"],
    [...best].map(([name, us]) => [name, us.toFixed(1), (1e6 / us).toFixed(0)]),
  );
} finally {
  closeSync(fd);
  rmSync(directory, { recursive: true });
}
