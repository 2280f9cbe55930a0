// The thread that inflates and hashes a layer and makes its ztoc. Layers come one after the other.
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { AppError, type Digest, type ErrorCode, type ErrorDetails } from "@soci-ts/core";
import { ByteRing } from "./byte-ring.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { evenPieces, type ScanTask, scanLayer } from "./scan-layer.ts";

/** What it is given. */
export interface IndexThreadData {
  /** The ring that a blob's bytes come through. */
  readonly blob: SharedArrayBuffer;
}

/** What it is told: to make a ztoc; to give the next piece of it; that it will not be asked for more of it. */
export type IndexThreadOrder =
  | { readonly kind: "scan"; readonly task: ScanTask }
  | { readonly kind: "next" }
  | { readonly kind: "done" };

/** What it says: how far it is, now and then; what it made; a piece of that, or that there is no more; or why it could not. */
export type IndexThreadMessage =
  | { readonly kind: "progress"; readonly compressedBytes: number }
  | { readonly kind: "scanned"; readonly digest: Digest; readonly sizeBytes: number }
  | { readonly kind: "piece"; readonly bytes: Uint8Array | undefined }
  | {
      readonly kind: "failed";
      readonly code: ErrorCode;
      readonly message: string;
      readonly details: ErrorDetails;
    };

const port = parentPort as MessagePort;
const input = new ByteRing((workerData as IndexThreadData).blob);
// A writer waits for room when the ring is full: by then there was progress to tell of at least twice.
const progressBytes = input.capacityBytes / 4;
/** Pieces that are taken from the ring: the next ones come in while one is worked on. */
const pieceBytes = input.capacityBytes / 8;

/** Of the ztoc that was made last. */
let ztocPieces: Iterator<Uint8Array<ArrayBuffer>> | undefined;

port.on("message", (order: IndexThreadOrder) => {
  if (order.kind === "scan") void scan(order.task);
  else if (order.kind === "next") sayNextPiece();
  else forget();
});

async function scan(task: ScanTask): Promise<void> {
  try {
    const { digest, ztoc } = await scanLayer(task, blobPieces(), {});
    ztocPieces = evenPieces(ztoc);
    say({ kind: "scanned", digest, sizeBytes: ztoc.sizeBytes });
  } catch (error) {
    const { code, message, details } = AppError.from(error);
    say({ kind: "failed", code, message, details });
    forget();
  }
}

function sayNextPiece(): void {
  const bytes = ztocPieces?.next().value as Uint8Array<ArrayBuffer> | undefined;
  say({ kind: "piece", bytes }, bytes === undefined ? [] : [bytes.buffer]);
}

/** A layer's windows lie outside of the heap. */
function forget(): void {
  ztocPieces = undefined;
  collectGarbage("all");
}

async function* blobPieces(): AsyncGenerator<Uint8Array> {
  let compressedBytes = 0;
  let told = 0;
  for (;;) {
    const bytes = input.view(pieceBytes);
    if (bytes === undefined) return;
    yield bytes;
    input.release(bytes.length);
    compressedBytes += bytes.length;
    if (compressedBytes - told < progressBytes) continue;
    told = compressedBytes;
    say({ kind: "progress", compressedBytes });
  }
}

function say(message: IndexThreadMessage, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}
