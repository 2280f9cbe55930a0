import { hash } from "node:crypto";
import { type MessagePort, parentPort } from "node:worker_threads";
import { crc32 } from "node:zlib";
import { type Digest, digestAlgorithm } from "@soci-ts/core";
import { inflateHere } from "@soci-ts/gzip";
import { HeaderTable } from "@soci-ts/layer-index";
import { runWhenIdle } from "@soci-ts/linux";
import { CHUNK_BYTES } from "./chunk-map.ts";
import type { InflateInput } from "./open-span.ts";

/** What the thread of `quiet-opener.ts` is given. */
export interface QuietTask extends InflateInput {
  readonly id: number;
  readonly compressed: Uint8Array;
  readonly digest: Digest;
  readonly uncompressedStart: number;
  /** The records of the headers that lie wholly in the span (`HeaderTable`). */
  readonly headers: Uint8Array | undefined;
}

/** A span's tar bytes, and the checksum of each of its chunks. */
export interface OpenedSpan {
  readonly bytes: Uint8Array;
  readonly checksums: Uint32Array;
}

/** What it answers; without `opened`, something is wrong with the span: whoever asked finds out what. */
export interface QuietAnswer {
  readonly id: number;
  readonly opened: OpenedSpan | undefined;
}

runWhenIdle();
const port = parentPort as MessagePort;
port.on("message", (task: QuietTask) => {
  const opened = tryOpen(task);
  const transfer = opened === undefined ? [] : [opened.bytes.buffer, opened.checksums.buffer];
  port.postMessage({ id: task.id, opened } satisfies QuietAnswer, transfer as ArrayBuffer[]);
});

function tryOpen(task: QuietTask): OpenedSpan | undefined {
  try {
    return open(task);
  } catch {
    return undefined;
  }
}

function open(task: QuietTask): OpenedSpan | undefined {
  const { compressed, digest, checkpoint, sizeBytes, isWhole, headers } = task;
  const algorithm = digestAlgorithm(digest);
  if (`${algorithm}:${hash(algorithm, compressed)}` !== digest) return undefined;
  const bytes =
    checkpoint === undefined
      ? compressed.subarray(0, sizeBytes)
      : inflateHere(checkpoint, compressed, sizeBytes, { isWhole });
  if (headers !== undefined) HeaderTable.decode(headers).verify(bytes, task.uncompressedStart);
  const checksums = new Uint32Array(Math.ceil(bytes.length / CHUNK_BYTES));
  for (let at = 0; at < checksums.length; at += 1) {
    checksums[at] = crc32(bytes.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES));
  }
  return { bytes, checksums };
}
