import { crc32 } from "node:zlib";
import { AppError } from "@soci-ts/core";
import { REQUEST_BUFFER_BYTES } from "./protocol.ts";
import { decodeStruct, encodeStruct } from "./struct.ts";
import { FUSE_IN_HEADER } from "./structs.ts";

/*
 * The journal's file: a header, buffers that requests are received into, and slots for requests that are being answered. FORMAT.md says the
 * same in words. All numbers are little-endian.
 */

/** `SOCIJRNL`, read as a number. */
const MAGIC = 0x4c4e_524a_4943_4f53n;

/** The format that is written here; a higher one is refused. */
export const JOURNAL_FORMAT = 1;

/** The head of the file. `check` covers what lies before it. */
export const JOURNAL_HEADER = {
  name: "journal header",
  sizeBytes: 48,
  fields: [
    ["magic", "raw64"],
    ["format", "u32"],
    ["slots", "u32"],
    ["slotBytes", "u32"],
    ["areas", "u32"],
    ["areaBuffers", "u32"],
    ["bufferBytes", "u32"],
    ["check", "u32"],
    ["servers", "u32"],
    ["crashed", "u32"],
    ["reserved", "u32"],
  ],
} as const;

/** The head of a slot, before the request's message. */
export const JOURNAL_SLOT = {
  name: "journal slot",
  sizeBytes: 24,
  fields: [
    ["lengthBytes", "u32"],
    ["check", "u32"],
    ["begun", "u32"],
    ["crashes", "u32"],
    ["convicted", "u32"],
    ["reserved", "u32"],
  ],
} as const;

/** Where the fields lie that are written for each request, or change while the file is in use. */
export const JOURNAL_OFFSETS = {
  header: { check: 32, servers: 36, crashed: 40 },
  slot: { lengthBytes: 0, check: 4, begun: 8, crashes: 12, convicted: 16, message: 24 },
} as const;

/** Requests that can be written down at a time: 4096 slots of 512 bytes are 2 MiB. */
export const JOURNAL_SLOTS = 4096;
/** Bytes of a slot. */
export const SLOT_BYTES = 512;
/** The longest message that fits a slot: 512 − 24. A name has at most 255 bytes, so only what is never worked on is longer. */
export const MAX_MESSAGE_BYTES: number = SLOT_BYTES - JOURNAL_SLOT.sizeBytes;

/** Sets of receive buffers, used in turn by one server after the other, so that a dying one writes into none of its successor's. */
export const AREAS = 4;
/** Receive buffers of a server: a thread that receives goes on while its session has not come to what is in the others. */
export const AREA_BUFFERS = 8;

/** The header has a page of its own. */
const BUFFERS_START = 4096;
const SLOTS_START: number = BUFFERS_START + AREAS * AREA_BUFFERS * REQUEST_BUFFER_BYTES;

/** Length of the file: 4096 + 4 · 8 · 16,384 + 4096 · 512. */
export const JOURNAL_BYTES: number = SLOTS_START + JOURNAL_SLOTS * SLOT_BYTES;

/** Where a slot lies. */
export function slotOffset(slot: number): number {
  return SLOTS_START + slot * SLOT_BYTES;
}

/** Where a receive buffer lies. */
export function bufferOffset(area: number, buffer: number): number {
  return BUFFERS_START + (area * AREA_BUFFERS + buffer) * REQUEST_BUFFER_BYTES;
}

/** Writes the header of an empty journal. */
export function encodeJournalHeader(bytes: Uint8Array): void {
  const view = viewOf(bytes);
  encodeStruct(JOURNAL_HEADER, view, 0, {
    magic: MAGIC,
    format: JOURNAL_FORMAT,
    slots: JOURNAL_SLOTS,
    slotBytes: SLOT_BYTES,
    areas: AREAS,
    areaBuffers: AREA_BUFFERS,
    bufferBytes: REQUEST_BUFFER_BYTES,
  });
  view.setUint32(JOURNAL_OFFSETS.header.check, headerCheck(bytes), true);
}

/**
 * What is wrong with the header, or `undefined` for a journal that can be used.
 * @throws AppError `failed_precondition` for a newer format.
 */
export function journalFault(bytes: Uint8Array): string | undefined {
  if (bytes.length !== JOURNAL_BYTES) return `it has ${bytes.length} bytes, want ${JOURNAL_BYTES}`;
  const header = decodeStruct(JOURNAL_HEADER, viewOf(bytes), 0);
  if (header.magic !== MAGIC) return "it has no magic number";
  if (header.check !== headerCheck(bytes)) return "its header's checksum is wrong";
  refuseNewer(header.format);
  const isOurs =
    header.format === JOURNAL_FORMAT &&
    header.slots === JOURNAL_SLOTS &&
    header.slotBytes === SLOT_BYTES &&
    header.areas === AREAS &&
    header.areaBuffers === AREA_BUFFERS &&
    header.bufferBytes === REQUEST_BUFFER_BYTES;
  return isOurs ? undefined : "its parts have other sizes";
}

/**
 * Looks at the first bytes of a file of any length.
 * @throws AppError `failed_precondition` if it is a journal of a newer format, whose length may be another.
 */
export function refuseNewerJournal(head: Uint8Array): void {
  if (head.length < JOURNAL_HEADER.sizeBytes) return;
  const { magic, format, check } = decodeStruct(JOURNAL_HEADER, viewOf(head), 0);
  if (magic === MAGIC && check === headerCheck(head)) refuseNewer(format);
}

function refuseNewer(format: number): void {
  if (format <= JOURNAL_FORMAT) return;
  throw new AppError(
    "failed_precondition",
    `Cannot use the journal of FUSE requests: it has format ${format}, want ${JOURNAL_FORMAT} or lower; a newer version wrote it`,
  );
}

function headerCheck(bytes: Uint8Array): number {
  return crc32(bytes.subarray(0, JOURNAL_OFFSETS.header.check));
}

/**
 * A copy of the message that begins a receive buffer or follows a slot's head, if there is one that may be answered: whole, and with a `unique`
 * that is not a notification's.
 */
export function messageIn(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < FUSE_IN_HEADER.sizeBytes) return undefined;
  const view = viewOf(bytes);
  const length = view.getUint32(0, true);
  if (length < FUSE_IN_HEADER.sizeBytes || length > bytes.length) return undefined;
  if (view.getBigUint64(8, true) === 0n) return undefined;
  return bytes.slice(0, length);
}

/** A view of exactly these bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
