import { crc32 } from "node:zlib";
import { AppError, type Logger, silentLogger } from "@soci-ts/core";
import {
  AREA_BUFFERS,
  AREAS,
  bufferOffset,
  encodeJournalHeader,
  JOURNAL_HEADER,
  JOURNAL_OFFSETS,
  JOURNAL_SLOT,
  JOURNAL_SLOTS,
  journalFault,
  MAX_MESSAGE_BYTES,
  messageIn,
  SLOT_BYTES,
  slotOffset,
  viewOf,
} from "./journal-format.ts";
import { OPCODES, REQUEST_BUFFER_BYTES } from "./protocol.ts";
import { decodeRequest, type FuseRequest, peekOpcode } from "./request.ts";
import { decodeStruct } from "./struct.ts";

/** The journal's file in memory. */
export interface JournalMemory {
  /** All of the file, {@link JOURNAL_BYTES}; zeros for a new one. */
  readonly bytes: Uint8Array;
  /**
   * Where `bytes` is a copy of the file instead of the file itself: called after each change, to write it. What is received into such a
   * copy is not in the file until it is taken on.
   */
  readonly written?: (start: number, end: number) => void;
}

/** How the server before this one ended: by a fault of its own, or by a signal from outside, which says nothing of what it was doing. */
export type PredecessorEnd = "crashed" | "killed";

/** What is thought of a request that an earlier server left behind. */
export type Verdict = "innocent" | "suspect" | "guilty";

/** A request that was taken on. */
export interface JournalEntry {
  /** Where it is written down; `undefined` if it could not be: there was no room. */
  readonly slot: number | undefined;
  readonly verdict: Verdict;
  /** How many servers have crashed while they worked on it. */
  readonly crashes: number;
}

/** A request that an earlier server had taken on and not answered. */
export interface JournalRecord extends JournalEntry {
  readonly slot: number;
  /** See {@link journalKey}. */
  readonly key: bigint;
  /** As the kernel wrote it. */
  readonly message: Uint8Array;
  /** Work on those with a higher number began later; 0: it never did. */
  readonly begun: number;
}

/** Crashes that convict a request; with one less it is a suspect. */
const CONVICTING_CRASHES = 3;

const RESENT = 1n << 63n;

/** What names a request, however often it is sent: its `unique` without the mark of resent ones. */
export function journalKey(unique: bigint): bigint {
  return unique & ~RESENT;
}

/**
 * The requests that are in flight, written down where they outlive the process, with no system call for any of them.
 *
 * Life of a request: received straight into one of `buffers`, which lie in the file, so that there is no instant in which only a process knows of it;
 * `take` copies it to a slot of its own, and `emptied` gives the buffer back; `begin` says that its handler is about to be called; `free`, when its reply
 * has been sent. What is found in buffers and slots when a journal is opened are the requests of servers that are dead.
 */
export class RequestJournal {
  /** Receive buffers of this server, one for each reader. */
  readonly buffers: readonly Uint8Array[];
  /** What earlier servers had taken on; those whose work began last stand first. */
  readonly records: readonly JournalRecord[];
  /** What earlier servers had received and not taken on; interrupts last, since they are about others. */
  readonly received: readonly Uint8Array[];
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #written: (start: number, end: number) => void;
  readonly #area: number;
  readonly #free: number[] = [];
  readonly #unclaimed = new Map<bigint, JournalRecord>();
  #begun = 0;

  /**
   * Opens a journal for one server; a damaged one is begun anew, and logged.
   * @param predecessor - how the last server ended. Its own mark, made by `markCrashed`, counts too.
   * @throws AppError `failed_precondition` for one of a newer format, which is left as it is.
   */
  constructor(memory: JournalMemory, predecessor: PredecessorEnd, logger: Logger = silentLogger) {
    this.#bytes = memory.bytes;
    this.#view = viewOf(memory.bytes);
    this.#written = memory.written ?? (() => {});
    this.#beginIfUseless(logger);
    const { header } = JOURNAL_OFFSETS;
    const crashed = predecessor === "crashed" || this.#view.getUint32(header.crashed, true) === 1;
    const servers = (this.#view.getUint32(header.servers, true) + 1) >>> 0;
    this.#area = servers % AREAS;
    this.received = this.#takeReceived();
    this.records = this.#readSlots(crashed, logger);
    for (const record of this.records) this.#unclaimed.set(record.key, record);
    this.#set(header.servers, servers);
    this.#set(header.crashed, 0);
    this.buffers = Array.from({ length: AREA_BUFFERS }, (_, at) => this.#buffer(this.#area, at));
  }

  /** Writes a request down, or finds what is written of it already. The message may be overwritten afterwards. */
  take(message: Uint8Array, unique: bigint): JournalEntry {
    if (this.#unclaimed.size > 0) {
      const record = this.#unclaimed.get(journalKey(unique));
      if (record !== undefined) {
        this.#unclaimed.delete(record.key);
        return record;
      }
    }
    return { slot: this.#write(message), verdict: "innocent", crashes: 0 };
  }

  /** Gives a receive buffer back whose message was taken on, or needs no answer. */
  emptied(buffer: Uint8Array): void {
    this.#view.setUint32(buffer.byteOffset - this.#bytes.byteOffset, 0, true);
  }

  /** Work on the request begins: a crash from now on counts against it. */
  begin(slot: number): void {
    this.#begun += 1;
    this.#set(slotOffset(slot) + JOURNAL_OFFSETS.slot.begun, this.#begun);
  }

  /** The request was answered. */
  free(slot: number): void {
    this.#set(slotOffset(slot) + JOURNAL_OFFSETS.slot.lengthBytes, 0);
    this.#free.push(slot);
  }

  /** Forgets what earlier servers left and nobody has taken up: the kernel gave those requests up, or they are another connection's. */
  forgetUnclaimed(): void {
    for (const { slot } of this.#unclaimed.values()) this.free(slot);
    this.#unclaimed.clear();
  }

  /** What a server that was still dying has received since this journal was opened. Answers each message once. */
  takeLate(): readonly Uint8Array[] {
    return this.#takeReceived(this.#area);
  }

  /** To be called by a process that ends itself because of a fault, as the last thing it does. */
  markCrashed(): void {
    this.#set(JOURNAL_OFFSETS.header.crashed, 1);
  }

  #beginIfUseless(logger: Logger): void {
    const fault = journalFault(this.#bytes);
    if (fault === undefined) return;
    const isNew = this.#bytes.subarray(0, JOURNAL_HEADER.sizeBytes).every((byte) => byte === 0);
    if (!isNew) logger.error("journal of FUSE requests begun anew", { error: fault });
    this.#bytes.fill(0);
    encodeJournalHeader(this.#bytes);
    this.#written(0, this.#bytes.length);
  }

  #set(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
    this.#written(offset, offset + 4);
  }

  #buffer(area: number, at: number): Uint8Array {
    const start = bufferOffset(area, at);
    return this.#bytes.subarray(start, start + REQUEST_BUFFER_BYTES);
  }

  /** The length goes last: without it, there is nothing in the slot. */
  #write(message: Uint8Array): number | undefined {
    if (message.length > MAX_MESSAGE_BYTES) return undefined;
    const slot = this.#free.pop();
    if (slot === undefined) return undefined;
    const fields = JOURNAL_OFFSETS.slot;
    const start = slotOffset(slot);
    const end = start + fields.message + message.length;
    this.#bytes.set(message, start + fields.message);
    this.#view.setUint32(start + fields.check, crc32(message), true);
    this.#view.setUint32(start + fields.begun, 0, true);
    this.#view.setUint32(start + fields.crashes, 0, true);
    this.#view.setUint32(start + fields.convicted, 0, true);
    this.#view.setUint32(start + fields.lengthBytes, message.length, true);
    this.#written(start, end);
    return slot;
  }

  #takeReceived(exceptArea = -1): readonly Uint8Array[] {
    const found: Uint8Array[] = [];
    for (let area = 0; area < AREAS; area += 1) {
      for (let at = 0; at < AREA_BUFFERS && area !== exceptArea; at += 1) {
        const buffer = this.#buffer(area, at);
        const message = messageIn(buffer);
        this.#set(bufferOffset(area, at), 0);
        if (message !== undefined) found.push(message);
      }
    }
    return found.sort((a, b) => Number(isInterrupt(a)) - Number(isInterrupt(b)));
  }

  #readSlots(crashed: boolean, logger: Logger): readonly JournalRecord[] {
    const found = new Map<bigint, JournalRecord>();
    let damaged = 0;
    for (let slot = JOURNAL_SLOTS - 1; slot >= 0; slot -= 1) {
      if (this.#view.getUint32(slotOffset(slot), true) === 0) {
        this.#free.push(slot);
        continue;
      }
      const record = this.#readSlot(slot);
      if (record !== undefined && !found.has(record.key)) found.set(record.key, record);
      else {
        damaged += 1;
        this.free(slot);
      }
    }
    if (damaged > 0) logger.error("damaged records of FUSE requests dropped", { count: damaged });
    const records = [...found.values()].sort((a, b) => b.begun - a.begun);
    return this.#judge(records, crashed);
  }

  #readSlot(slot: number): JournalRecord | undefined {
    const start = slotOffset(slot);
    const head = decodeStruct(JOURNAL_SLOT, this.#view, start);
    const content = this.#bytes.subarray(start + JOURNAL_SLOT.sizeBytes, start + SLOT_BYTES);
    const message = messageIn(content);
    if (message === undefined || message.length !== head.lengthBytes) return undefined;
    const request = requestOf(message);
    if (crc32(message) !== head.check || request === undefined) return undefined;
    if (UNANSWERED.has(request.kind)) return undefined;
    const isGuilty = head.convicted === 1;
    return {
      slot,
      key: journalKey(request.unique),
      message,
      begun: head.begun,
      crashes: head.crashes,
      verdict: isGuilty ? "guilty" : "innocent",
    };
  }

  /**
   * Counts a crash against those whose work had begun. It convicts only a request that was worked on alone: others may have been beside the
   * culprit each time, so with two crashes they are suspects, to be tried one after the other.
   */
  #judge(records: readonly JournalRecord[], crashed: boolean): readonly JournalRecord[] {
    const isAlone = records.filter(({ begun }) => begun > 0).length === 1;
    return records.map((record) => {
      const counts = crashed && record.begun > 0;
      const crashes = record.crashes + Number(counts);
      const isConvicted = counts && isAlone && crashes >= CONVICTING_CRASHES;
      const isSuspect = crashes >= CONVICTING_CRASHES - 1;
      const verdict =
        record.verdict === "guilty" || isConvicted ? "guilty" : isSuspect ? "suspect" : "innocent";
      this.#writeVerdict({ ...record, crashes, verdict });
      return { ...record, crashes, verdict };
    });
  }

  /** In this order a kill in between may lose a crash, and never counts one twice. */
  #writeVerdict({ slot, crashes, verdict }: JournalRecord): void {
    const start = slotOffset(slot);
    const fields = JOURNAL_OFFSETS.slot;
    this.#set(start + fields.begun, 0);
    this.#set(start + fields.crashes, crashes);
    this.#set(start + fields.convicted, Number(verdict === "guilty"));
  }
}

/** Requests with no reply, and INIT, which is answered before its buffer is given back: they have no slots. */
const UNANSWERED: ReadonlySet<string> = new Set(["INIT", "FORGET", "INTERRUPT"]);

function isInterrupt(message: Uint8Array): boolean {
  return peekOpcode(message) === OPCODES.INTERRUPT;
}

function requestOf(message: Uint8Array): FuseRequest | undefined {
  try {
    return decodeRequest(message);
  } catch (error) {
    if (AppError.from(error).code === "data_loss") return undefined;
    throw error;
  }
}
