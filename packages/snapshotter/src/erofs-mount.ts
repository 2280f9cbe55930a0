import { createReadStream } from "node:fs";
import { AppError, DisposeStack, type Logger } from "@soci-ts/core";
import {
  attachLoop,
  erofsBackingDevices,
  type LoopDevice,
  mount,
  setReadAhead,
} from "@soci-ts/linux";

/** What EROFS is mounted from: files, or loop devices over them. */
export type ErofsDoor = "erofs" | "loop";

/** An EROFS mount of one layer. */
export interface ErofsLayerMount {
  readonly door: ErofsDoor;
  /** The metadata image. */
  readonly source: string;
  /** What the image's devices are, in its order. */
  readonly devices: readonly string[];
  /** An existing directory. */
  readonly target: string;
  /** For messages. */
  readonly layerDigest: string;
  /**
   * Default `off`, which is right while bytes of the layer are still to be fetched: a page that is not there must cost what the process asked for, not what the
   * kernel guesses it may want next. Only what follows page faults through EROFS is meant; FUSE's own read-ahead stays as it is, so that
   * whoever reads a file in order is not answered page by page (the README has the figures).
   */
  readonly readAhead?: "kernel" | "off";
  /**
   * Has the devices read past the page cache of the file system that they are on, since what EROFS keeps would be there twice. Only for files on a disk: of
   * our FUSE, what is read ahead would be lost. Where the kernel can't, the page cache has both.
   */
  readonly directIo?: boolean | undefined;
}

/**
 * Mounts a layer. The kernel reads from `source` and `devices` meanwhile: a process that serves them must never call this. Loop devices go by
 * themselves with the mount, or now if it fails.
 * @throws AppError with the layer's digest.
 */
export async function mountErofsLayer(layer: ErofsLayerMount, logger: Logger): Promise<void> {
  try {
    await preloadFile(layer.source);
    if (layer.door === "loop") await mountFromLoops(layer, logger);
    else await mountFromFiles(layer, logger);
  } catch (error) {
    throw layerError(layer, AppError.from(error));
  }
}

/**
 * Brings a file into the page cache. Of a metadata image, that is where EROFS reads it from: looking at names and attributes then takes no
 * message to the serving process at all. About 100 bytes for each file.
 */
export async function preloadFile(path: string): Promise<void> {
  const pieces: AsyncIterable<Uint8Array> = createReadStream(path, { highWaterMark: 2 ** 20 });
  for await (const _ of pieces);
}

async function mountFromFiles(layer: ErofsLayerMount, logger: Logger): Promise<void> {
  const others = erofsBackingDevices();
  await mountErofsFiles(layer);
  if (layer.readAhead === "kernel") return;
  // The kernel does not say which one is this mount's: what is new may be that of another layer just being mounted, whose read-ahead then is off, too.
  const fresh = [...erofsBackingDevices()].filter((name) => !others.has(name));
  switchReadAheadOff(fresh, logger);
}

/** The option `directio` came with Linux 6.15; before, it is EINVAL. */
async function mountErofsFiles(layer: ErofsLayerMount): Promise<void> {
  const { source, devices } = layer;
  if (layer.directIo === true) {
    try {
      await mountErofs(layer, source, devices, ["directio"]);
      return;
    } catch (error) {
      if (AppError.from(error).details["errno"] !== "EINVAL") throw error;
    }
  }
  await mountErofs(layer, source, devices);
}

async function mountFromLoops(layer: ErofsLayerMount, logger: Logger): Promise<void> {
  // Let go of in any case: what is mounted keeps its devices.
  await using held = new DisposeStack();
  const loops: LoopDevice[] = [];
  const { source: image, directIo } = layer;
  loops.push(held.use(await attachLoop(image)));
  for (const file of layer.devices) loops.push(held.use(await attachLoop(file, { directIo })));
  if (layer.readAhead !== "kernel") {
    const names = loops.map(({ bdi }) => bdi);
    switchReadAheadOff(names, logger);
  }
  const [source = "", ...devices] = loops.map(({ path }) => path);
  await mountErofs(layer, source, devices);
}

async function mountErofs(
  { target }: ErofsLayerMount,
  source: string,
  devices: readonly string[],
  options: readonly string[] = [],
): Promise<void> {
  const data = [...options, ...devices.map((device) => `device=${device}`)].join(",");
  await mount({ source, target, type: "erofs", flags: ["ro", "nosuid", "nodev"], data });
}

function switchReadAheadOff(names: readonly string[], logger: Logger): void {
  for (const name of names) {
    try {
      setReadAhead(name, 0);
    } catch (error) {
      // More is fetched than needed, nothing worse: a container may have sysfs read-only.
      logger.warn("read-ahead not switched off", { error: AppError.from(error).message });
    }
  }
}

function layerError({ layerDigest }: ErofsLayerMount, cause: AppError): AppError {
  const message = `Cannot mount layer ${layerDigest}: ${cause.message}`;
  return new AppError(cause.code, message, { cause, details: cause.details });
}
