import { readdir, stat, statfs } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Digest } from "@soci-ts/core";
import { type PunchHole, removeCachedBytes } from "@soci-ts/lazy-layer";
import { canPunchHoles, punchHole, readMountTable } from "@soci-ts/linux";
import { layerCompression } from "@soci-ts/oci";
import type { SlotRecord } from "../mount-record.ts";
import type { ClosedLayer, EvictionGround } from "./cache-eviction.ts";
import type { DiskSlots, OpenCache } from "./disk-slots.ts";
import type { NodePaths } from "./node-paths.ts";
import { readNodeSlot, readSlotStats, slotDirectory } from "./slot-files.ts";

const BLOCK_BYTES = 512;

/** The layers of a node, as far as their bytes can be given up. Layers of one blob share its cache, and count as one. */
export class EvictableLayers implements EvictionGround {
  readonly punchHole: PunchHole | undefined = canPunchHoles() ? punchHole : undefined;
  readonly #paths: NodePaths;
  readonly #slots: DiskSlots;

  constructor(paths: NodePaths, slots: DiskSlots) {
    this.#paths = paths;
    this.#slots = slots;
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#paths.root);
    return bavail * bsize;
  }

  async allocatedBytes(): Promise<number> {
    return await allocatedBelow(this.#paths.layers);
  }

  openCaches(): readonly OpenCache[] {
    return this.#slots.openCaches();
  }

  async closedLayers(): Promise<readonly ClosedLayer[]> {
    const open = new Set(this.#slots.stats().keys());
    const mounted = mountedLayers(this.#paths);
    const byDigest = new Map<Digest, FoundSlot[]>();
    for (const name of await namesIn(this.#paths.slots)) {
      const found = await this.#find(Number(name));
      if (found === undefined) continue;
      const { layerDigest } = found.record;
      byDigest.set(layerDigest, [...(byDigest.get(layerDigest) ?? []), found]);
    }
    return [...byDigest]
      .filter(([, slots]) => !slots.some(({ slot }) => open.has(slot)))
      .map(([digest, slots]) => this.#closed(digest, slots, mounted));
  }

  #closed(digest: Digest, found: readonly FoundSlot[], mounted: ReadonlySet<number>): ClosedLayer {
    const slots = found.map(({ slot }) => slot);
    const layers = this.#paths.layers;
    const users = slots.filter((slot) => mounted.has(slot));
    return {
      usedAtMs: Math.max(...found.map(({ usedAtMs }) => usedAtMs)),
      isMounted: users.length > 0,
      isLastResort: found.some(({ record }) => !isReadInPart(record)),
      remove: async () => {
        const remove = (): Promise<number> => removeCachedBytes(layers, digest);
        return (await this.#slots.whileClosed(slots, remove)) ?? 0;
      },
      open: async () => {
        const [slot] = users;
        return slot === undefined ? undefined : await this.#slots.openCache(slot);
      },
    };
  }

  /** A slot that is damaged, or not whole yet, has nothing that may go. */
  async #find(slot: number): Promise<FoundSlot | undefined> {
    if (!Number.isSafeInteger(slot)) return undefined;
    const directory = slotDirectory(this.#paths.slots, slot);
    const record = await readNodeSlot(directory).then(
      (node) => node.record,
      () => undefined, // see above
    );
    const placed = await stat(directory).catch(() => undefined); // removed meanwhile
    if (record === undefined || placed === undefined) return undefined;
    const stats = await readSlotStats(directory);
    return { slot, record, usedAtMs: Math.max(stats.usedAtMs, placed.birthtimeMs) };
  }
}

interface FoundSlot {
  readonly slot: number;
  readonly record: SlotRecord;
  readonly usedAtMs: number;
}

/** What of a streamed layer can't be had again but as a whole; gzip is told by its index when it is opened. */
function isReadInPart({ data }: SlotRecord): boolean {
  return (
    data.kind === "lazy" ||
    (data.kind === "streamed" && layerCompression(data.mediaType) !== "zstd")
  );
}

/** Layers with a mount point that is in use. Through the door `fuse` there are none: there the time of the last read alone tells. */
function mountedLayers({ mounts }: NodePaths): ReadonlySet<number> {
  const points = readMountTable().map(({ mountPoint }) => mountPoint);
  const own = points.filter((path) => path.startsWith(`${mounts}/`));
  return new Set(own.map((path) => Number(basename(path))));
}

/** Disk space of all files below a directory; none of one that is not there. A file with several names counts once for each. */
export async function allocatedBelow(directory: string): Promise<number> {
  let total = 0;
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []); // gone meanwhile
  for (const entry of entries) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) total += await allocatedBelow(path);
    else total += ((await stat(path).catch(() => undefined))?.blocks ?? 0) * BLOCK_BYTES;
  }
  return total;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch(() => []); // nothing was placed yet
}
