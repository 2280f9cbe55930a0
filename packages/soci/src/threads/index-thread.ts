// The thread that inflates and hashes a layer and makes its ztoc. Layers come one after the other.
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { AppError, type ErrorCode, type ErrorDetails } from "@soci-ts/core";
import { ByteRing } from "./byte-ring.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { type ScannedLayer, type ScanTask, scanLayer } from "./scan-layer.ts";

/** What it is given. */
export interface IndexThreadData {
  /** The ring that a blob's bytes come through. */
  readonly blob: SharedArrayBuffer;
}

/** What it says: how far it is, now and then; what it made; or why it could not. */
export type IndexThreadMessage =
  | { readonly kind: "progress"; readonly compressedBytes: number }
  | { readonly kind: "scanned"; readonly layer: ScannedLayer }
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

// Collected after each layer: its windows.
port.on("message", (task: ScanTask) => void handle(task).then(() => collectGarbage("all")));

async function handle(task: ScanTask): Promise<void> {
  try {
    const layer = await scanLayer(task, pieces(), {});
    const { buffer } = layer.ztoc;
    say({ kind: "scanned", layer }, buffer instanceof ArrayBuffer ? [buffer] : []);
  } catch (error) {
    const { code, message, details } = AppError.from(error);
    say({ kind: "failed", code, message, details });
  }
}

async function* pieces(): AsyncGenerator<Uint8Array> {
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
