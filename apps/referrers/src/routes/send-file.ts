import { close, read } from "node:fs";
import type { ServerResponse } from "node:http";
import { promisify } from "node:util";
import type { ResponseBody } from "@soci-ts/registry-server";

const CHUNK_BYTES = 256 * 1024;
/** Where many files are sent at a time, their buffers get smaller: clients that read slowly keep them for long. */
const LEAST_CHUNK_BYTES = 16 * 1024;
/** About what the first of the two buffers of all files that are being sent have together. */
const BUDGET_BYTES: number = 16 * 1024 * 1024;

let sending = 0;

const readChunk = promisify(read);
const closeDescriptor = promisify(close);

/**
 * Sends a range of a file as the body, after its headers, and closes the file however it ends. One chunk is read while the
 * other is sent, always in the same two buffers: Node's file streams allocate each chunk anew, and collecting them took more
 * time than reading and sending together. A file that is too short, or a client that leaves, destroys the response.
 */
export async function sendFile(
  response: ServerResponse,
  body: Extract<ResponseBody, { kind: "file" }>,
): Promise<void> {
  const { descriptor, start, end } = body;
  sending += 1;
  const sizeBytes = Math.min(chunkBytes(sending), end - start);
  const readAt = async (buffer: Uint8Array, offset: number): Promise<Uint8Array> => {
    const length = Math.min(sizeBytes, end - offset);
    const { bytesRead } = await readChunk(descriptor, buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
  let current = Buffer.allocUnsafeSlow(sizeBytes);
  let next = Buffer.allocUnsafeSlow(sizeBytes);
  const closed = new Promise<void>((resolve) => response.once("close", resolve));
  try {
    let piece = await readAt(current, start);
    for (let offset = start + piece.length; !response.destroyed; offset += piece.length) {
      if (piece.length === 0) throw new Error("the file is shorter than it was");
      if (offset === end) {
        response.end(piece);
        await closed;
        return;
      }
      const [following] = await Promise.all([
        readAt(next, offset),
        Promise.race([written(response, piece), closed]),
      ]);
      piece = following;
      [current, next] = [next, current];
    }
  } finally {
    if (!response.writableEnded) response.destroy();
    sending -= 1;
    await closeDescriptor(descriptor);
    body.release?.();
  }
}

function chunkBytes(files: number): number {
  return Math.max(LEAST_CHUNK_BYTES, Math.min(CHUNK_BYTES, Math.floor(BUDGET_BYTES / files)));
}

/** Resolves when the socket has taken the bytes, or has failed to: then the response is destroyed. */
function written(response: ServerResponse, piece: Uint8Array): Promise<void> {
  return new Promise((resolve) => response.write(piece, () => resolve()));
}
