import { setImmediate } from "node:timers/promises";
import { encodeErofs } from "@soci-ts/erofs";
import {
  buildLayerIndex,
  buildLayerTree,
  decodeZtoc,
  encodeZtoc,
  HeaderTable,
} from "@soci-ts/layer-index";
import { madeUpTar } from "./made-up-tar.ts";

/** Files of a layer that is made to be gone through; one round takes about 50 ms. */
const FILES = 500;
const ROUNDS = 8;

/**
 * Goes through the work on a layer's index, on a made-up layer, until the signal aborts or the engine has compiled it: a real layer then takes a
 * sixth of the time (530 ms against 88 ms of processor time for 4,788 files). Nothing is kept. Yields every 20 ms or so.
 */
export async function warmUp(signal: AbortSignal): Promise<void> {
  const tar = madeUpTar(FILES, 0);
  for (let round = 0; round < ROUNDS; round += 1) {
    const { index } = await buildLayerIndex(once(tar), {
      compression: "none",
      spanSizeBytes: 65_536,
    });
    if (index === undefined) return;
    const steps = [
      () => decodeZtoc(encodeZtoc(index)),
      () => HeaderTable.of(index.entries),
      () => {
        const { root } = buildLayerTree(index.entries);
        encodeErofs(root, { devices: [{ sizeBytes: index.uncompressedSizeBytes }] });
      },
    ];
    for (const step of steps) {
      await setImmediate();
      if (signal.aborted) return;
      step();
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
