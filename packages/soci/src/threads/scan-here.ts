import type { LayerThreads } from "./layer-threads.ts";
import { scanLayer } from "./scan-layer.ts";

/** Makes the ztoc of a layer on the calling thread: for what is done before threads would have started. */
export const scanHere: LayerThreads["scan"] = (task, stream, options) =>
  scanLayer(task, watched(stream, options.onInputFailure), options);

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
