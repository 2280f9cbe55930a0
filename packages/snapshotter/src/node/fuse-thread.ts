import { Worker } from "node:worker_threads";
import {
  deviceChannel,
  makeThreadMemory,
  type RequestJournal,
  ThreadChannel,
  type ThreadMessage,
  type ThreadNote,
} from "@soci-ts/fuse";
import type { PresentBytes } from "@soci-ts/lazy-layer";
import { meaningOf } from "../node-ids.ts";
import type { FuseThreadOrder, FuseThreadStart } from "./fuse-thread-worker.ts";

/** What the FUSE thread of a layer server needs. */
export interface FuseThreadOptions {
  /** `/dev/fuse`, open. */
  readonly fd: number;
  readonly journal: RequestJournal;
  /** All of the journal, and the file that it is in. */
  readonly bytes: Uint8Array;
  readonly path: string;
  /** Told of each read that the thread has answered, some time after it. */
  readonly onRead: (slot: number, note: ThreadNote) => void;
  /** Told if the thread fails: nothing is received any more. */
  readonly onFailure: (error: unknown) => void;
}

/** It makes little garbage; with V8's default it would hold some megabytes of it. */
const YOUNG_GENERATION_MIB = 1;

/**
 * The thread that receives all FUSE requests of a layer server. It answers reads of present bytes by itself, whatever the event loop and libuv's pool are
 * busy with; all else comes to the session, through `channel`.
 */
export class FuseThread {
  readonly channel: ThreadChannel;
  readonly #worker: Worker;
  /** False after crashes over a request: who may have been beside it is found out by working on one request at a time. */
  readonly #mayAnswer: boolean;

  constructor({ fd, journal, bytes, path, onRead, onFailure }: FuseThreadOptions) {
    const { buffers, records } = journal;
    this.#mayAnswer = records.every(({ verdict }) => verdict === "innocent");
    const memory = makeThreadMemory(buffers.length);
    this.channel = new ThreadChannel({
      device: deviceChannel(fd),
      buffers,
      memory,
      onNote: (note) => {
        const meaning = meaningOf(note.nodeId);
        if (meaning?.kind === "data") onRead(meaning.slot, note);
      },
    });
    const start: FuseThreadStart = {
      fd,
      memory,
      journal: bytes.buffer instanceof SharedArrayBuffer ? bytes : path,
      buffers: buffers.map(({ byteOffset, length }) => {
        const at = byteOffset - bytes.byteOffset;
        return { start: at, end: at + length };
      }),
    };
    this.#worker = new Worker(new URL("./fuse-thread-worker.js", import.meta.url), {
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    this.#worker.on("message", (message: ThreadMessage) => this.channel.told(message));
    this.#worker.on("error", onFailure);
  }

  /** Lets the thread read a layer's present bytes. */
  show(slot: number, bytes: PresentBytes): void {
    if (this.#mayAnswer) this.#order({ kind: "show", slot, bytes });
  }

  /** A layer is closed. */
  hide(slot: number): void {
    if (this.#mayAnswer) this.#order({ kind: "hide", slot });
  }

  #order(order: FuseThreadOrder): void {
    this.#worker.postMessage(order);
  }
}
