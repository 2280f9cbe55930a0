import { STREAM_BYTES } from "../file-blob.ts";
import type { LayerThreads } from "./layer-threads.ts";
import { evenPieces, scanLayer } from "./scan-layer.ts";

/** Makes the ztoc of a layer on the calling thread: for what is done before threads would have started. */
export const scanHere: LayerThreads["scan"] = async (task, open, { use, ...options }) => {
  const memory = new Uint8Array(STREAM_BYTES);
  const stream = watched(
    open(() => memory),
    options.onInputFailure,
  );
  const { digest, ztoc } = await scanLayer(task, stream, options);
  return await use({ digest, sizeBytes: ztoc.sizeBytes, pieces: asynchronous(evenPieces(ztoc)) });
};

async function* asynchronous(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

async function* watched(
  stream: AsyncIterable<Uint8Array>,
  onFailure: (() => void) | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const bytes of stream) yield bytes;
  } catch (error) {
    onFailure?.();
    throw error;
  }
}
