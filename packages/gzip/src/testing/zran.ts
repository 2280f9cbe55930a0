import * as pako from "pako";
import { type Checkpoint, WINDOW_BYTES } from "../types.ts";

/**
 * The classic walk that `soci-format.md` §2.5 describes, as plainly as can be: gzip mode, a stop at every block, output in a
 * ring, the inflater reset at each member's end. The oracle for the scan, which does none of it this way.
 */
export function classicCheckpoints(compressed: Uint8Array, spanSizeBytes: number): Checkpoint[] {
  const stream = new pako.ZStream();
  const ring = new Uint8Array(WINDOW_BYTES);
  const checkpoints: Checkpoint[] = [];
  let totalOut = 0;
  let last = 0;
  pako.zlibInflateInit2(stream, 47);
  stream.input = compressed;
  stream.avail_in = compressed.length;
  stream.output = ring;
  while (stream.avail_in > 0) {
    if (stream.avail_out === 0) {
      stream.avail_out = WINDOW_BYTES;
      stream.next_out = 0;
    }
    totalOut += stream.avail_out;
    const status = pako.zlibInflate(stream, pako.Z_BLOCK);
    totalOut -= stream.avail_out;
    if (status === pako.Z_STREAM_END) {
      pako.zlibInflateReset2(stream, 47);
      continue;
    }
    if (status !== pako.Z_OK) throw new Error(`zlib status ${status}`);
    const isBoundary = (stream.data_type & 192) === 128;
    if (!isBoundary || (totalOut !== 0 && totalOut - last <= spanSizeBytes)) continue;
    const window = new Uint8Array(WINDOW_BYTES);
    window.set(ring.subarray(WINDOW_BYTES - stream.avail_out));
    window.set(ring.subarray(0, WINDOW_BYTES - stream.avail_out), stream.avail_out);
    checkpoints.push({
      compressedOffset: compressed.length - stream.avail_in,
      uncompressedOffset: totalOut,
      bits: stream.data_type & 7,
      window,
    });
    last = totalOut;
  }
  return checkpoints;
}
