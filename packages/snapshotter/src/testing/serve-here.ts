import { readFile } from "node:fs/promises";
import { bytesSource, sha256 } from "@soci-ts/core";
import { deviceChannel, FuseSession } from "@soci-ts/fuse";
import { fuseMount, openFuseDevice } from "@soci-ts/linux";
import { fixedSlots, LayerFileSystem, type LayerSlot } from "../layer-file-system.ts";
import type { TinyLayer } from "./tiny-layer.ts";

/**
 * Serves a tiny layer through FUSE from this process, which must not look into the mount from then on, not even wait for a child that does without
 * yielding. @returns what resolves when the mount at `target` has been taken away.
 */
export async function serveHere(
  layer: TinyLayer,
  target: string,
): Promise<{ ended: Promise<void> }> {
  const slots: LayerSlot[] = [];
  const { image } = layer;
  for (const path of layer.devices) {
    const data = bytesSource(await readFile(path));
    slots.push({ digest: sha256(image), image, data, deviceSlots: [0, 1] });
  }
  const fd = openFuseDevice();
  await fuseMount({ fd, target, source: "soci-test" });
  const handler = new LayerFileSystem(fixedSlots(slots));
  return { ended: new FuseSession({ channel: deviceChannel(fd), handler }).run() };
}
