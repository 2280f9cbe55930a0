import { rmdir } from "node:fs/promises";
import { AppError, SingleFlight } from "@soci-ts/core";
import type { IdMappedMounts } from "../contract/types.ts";
import type { MountHelper } from "./mount-helper.ts";

/**
 * Id-mapped copies of lower directories, made by the mount helper, since a path into a layer's mount must not be looked up by a process that
 * serves it. Works for EROFS of both doors, for a FUSE tree that negotiated it (Linux 6.12), and for directories of ext4, xfs and the like.
 *
 * `mount` replaces what is mounted at its target, which may show a layer's mount that is not there any more; overlays that were made over it are not
 * affected. `unmount` takes the directory away, too.
 */
export function idMappedMounts(helper: Pick<MountHelper, "idMap" | "unmount">): IdMappedMounts {
  // Two containers may start at once that want the same one.
  const mounting = new SingleFlight<void>();
  return {
    mount: async (source, target, mapping) => {
      const key = JSON.stringify([source, target, mapping.uids, mapping.gids]);
      await mounting.do(key, async () => {
        await helper.unmount(target, { detach: true });
        await helper.idMap(source, target, mapping);
      });
    },
    unmount: async (target) => {
      await helper.unmount(target, { detach: true });
      await rmdir(target).catch(ignoreAbsent);
    },
  };
}

function ignoreAbsent(error: unknown): void {
  if (AppError.from(error).code !== "not_found") throw error;
}
