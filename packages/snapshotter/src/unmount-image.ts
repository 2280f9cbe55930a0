import { AppError, type Logger, silentLogger } from "@soci-ts/core";
import type { Store } from "@soci-ts/store";
import { clearMount, isAlive } from "./clear-mount.ts";
import { listMounts } from "./mount-directories.ts";
import type { MountStats } from "./mount-stats.ts";
import { findByTarget } from "./target.ts";

/** How to unmount. */
export interface UnmountImageOptions {
  readonly store: Pick<Store, "directory">;
  /** Where the image is mounted. */
  readonly target: string;
  readonly logger?: Logger;
}

/** What was unmounted. */
export interface UnmountedImage {
  readonly target: string;
  readonly reference: string;
  /** True if the process behind the mount had died: it was taken away whether or not it was used. */
  readonly wasDead: boolean;
  /** What the mount's reads have cost; unknown if the serving process was killed. */
  readonly stats?: MountStats;
}

/**
 * Unmounts an image: overlay, layers, FUSE; the serving process ends, the record goes. A mount whose serving process is dead is
 * detached even if it is busy, since nothing in it can be used.
 * @throws AppError `not_found` if none of the store's images is mounted there; `failed_precondition` if it is in use or still being
 *   mounted.
 */
export async function unmountImage(options: UnmountImageOptions): Promise<UnmountedImage> {
  const logger = options.logger ?? silentLogger;
  const mounts = await listMounts(await options.store.directory("mounts"), logger);
  const found = await findByTarget(mounts, options.target);
  if (found === undefined) {
    throw new AppError(
      "not_found",
      `Cannot unmount "${options.target}": no image of this store is mounted there`,
    );
  }
  const { record } = found;
  const alive = isAlive(record);
  if (alive && record.phase === "starting") {
    throw new AppError(
      "failed_precondition",
      `Cannot unmount "${options.target}": process ${record.parent.pid} is just mounting it`,
    );
  }
  const stats = await clearMount(found, { detach: !alive });
  const { target, reference } = record;
  return { target, reference, wasDead: !alive, ...(stats === undefined ? {} : { stats }) };
}
