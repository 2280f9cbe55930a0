import { openSync } from "node:fs";
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from "node:worker_threads";
import {
  blockingChannel,
  JOURNAL_BYTES,
  READ_BUFFER_BYTES,
  runFuseThread,
  type ThreadMemory,
  type ThreadRead,
} from "@soci-ts/fuse";
import { type PresentBytes, PresentReader } from "@soci-ts/lazy-layer";
import { mapShared, runAtOnce } from "@soci-ts/linux";
import { meaningOf } from "../node-ids.ts";

/** What the thread is started with. */
export interface FuseThreadStart {
  readonly fd: number;
  readonly memory: ThreadMemory;
  /** The journal: its file, which is mapped, or the copy that the session has of it. */
  readonly journal: string | Uint8Array;
  /** Where in it the receive buffers lie. */
  readonly buffers: readonly { readonly start: number; readonly end: number }[];
}

/** What it is told, and looks at before each request: the layers that it may read. */
export type FuseThreadOrder =
  | { readonly kind: "show"; readonly slot: number; readonly bytes: PresentBytes }
  | { readonly kind: "hide"; readonly slot: number };

const readers = new Map<number, PresentReader>();
const answers = new Uint8Array(READ_BUFFER_BYTES);

run(workerData as FuseThreadStart, parentPort as MessagePort);

function run({ fd, memory, journal, buffers }: FuseThreadStart, port: MessagePort): void {
  runAtOnce();
  const bytes = typeof journal === "string" ? mapJournal(journal) : journal;
  runFuseThread({
    channel: blockingChannel(fd),
    memory,
    buffers: buffers.map(({ start, end }) => bytes.subarray(start, end)),
    tell: (message) => port.postMessage(message),
    read: (request) => {
      takeOrders(port);
      return read(request);
    },
  });
}

function mapJournal(path: string): Uint8Array {
  const mapped = mapShared(openSync(path, "r+"), JOURNAL_BYTES);
  if (mapped === undefined) throw new Error("the journal can't be mapped here");
  return mapped;
}

function takeOrders(port: MessagePort): void {
  for (;;) {
    const order = receiveMessageOnPort(port)?.message as FuseThreadOrder | undefined;
    if (order === undefined) return;
    if (order.kind === "show") readers.set(order.slot, new PresentReader(order.bytes));
    else readers.delete(order.slot);
  }
}

function read({ nodeId, offset, sizeBytes }: ThreadRead): Uint8Array | undefined {
  const meaning = meaningOf(nodeId);
  if (meaning?.kind !== "data") return undefined;
  return readers.get(meaning.slot)?.read(offset, sizeBytes, answers);
}
