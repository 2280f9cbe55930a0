import { setImmediate } from "node:timers/promises";
import { encodeErofs } from "@soci-ts/erofs";
import {
  buildLayerIndex,
  buildLayerTree,
  decodeZtoc,
  encodeZtoc,
  HeaderTable,
} from "@soci-ts/layer-index";

/** Files of a layer that is made to be gone through; one round takes about 50 ms. */
const FILES = 500;
const ROUNDS = 8;
const BLOCK_BYTES = 512;

/** Mode, owner, group, size and time of a header, from byte 100 on. */
const OCTAL_FIELDS = ["0000644", "0000000", "0000000", "00000000000", "14000000000", ""].join("\0");

/**
 * Goes through the work on a layer's index, on a made-up layer, until the signal aborts or the engine has compiled it: a real layer then takes a
 * sixth of the time (530 ms against 88 ms of processor time for 4,788 files). Nothing is kept. Yields every 20 ms or so.
 */
export async function warmUp(signal: AbortSignal): Promise<void> {
  const tar = madeUpTar(FILES);
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

/** A tar of empty files in some directories. */
function madeUpTar(files: number): Uint8Array {
  const headers = Array.from({ length: files }, (_, at) =>
    tarHeader(`usr/share/folder-${at % 20}/file-${at}`),
  );
  return Buffer.concat([...headers, Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** POSIX.1-1988 ustar header of an empty file. */
function tarHeader(name: string): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, 0, "latin1");
  header.write(OCTAL_FIELDS, 100, "latin1");
  header.write("        0", 148, "latin1");
  header.write("ustar", 257, "latin1");
  header.write("00", 263, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
