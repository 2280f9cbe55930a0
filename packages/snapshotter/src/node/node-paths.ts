import { createHash } from "node:crypto";
import { join } from "node:path";

/**
 * Where a node daemon keeps what, below its root:
 *
 * ```
 * f             FUSE: dN layer bytes, mN metadata image, tN tree of layer N
 * l/N           EROFS mount of layer N (doors erofs and loop)
 * l/Nw          EROFS mount of layer N from its local file
 * w/N/D         second name of the data file of layer D, while layer N is mounted from it
 * slots/N       what layer N is: slot.json, index, headers; stats.json, what reading it has cost
 * incoming/ID   what an image worker is writing
 * store         layer caches, metadata images, local indexes (`@soci-ts/store`)
 * layers.db     which layers there are, and what they were made for
 * keeper.log    of the processes that outlive the daemon
 * warm-up       while the layer server gets ready
 * ```
 *
 * and in a runtime directory, which a boot empties and whose path is short enough for sockets whatever the root's is:
 *
 * ```
 * keeper.json   the keeper of the FUSE connection and its server; fuse.json: what was agreed with the kernel
 * journal       the layer server's requests in flight, for its successor
 * *.sock        `layers`: the layer server; `control`: the daemon; `calls`: the keeper; `keeper` and `daemon`: held, so that there is one of each
 * ```
 * Mount points are short, because the options of an overlay of 128 layers have to fit one page.
 */
export interface NodePaths {
  readonly root: string;
  readonly fuse: string;
  readonly mounts: string;
  /** Second names of data files that the kernel reads without us. */
  readonly heldFiles: string;
  readonly slots: string;
  readonly incoming: string;
  readonly warmUp: string;
  readonly store: string;
  /** Of the store: layer caches. */
  readonly layers: string;
  readonly database: string;
  /** The runtime directory. */
  readonly runtime: string;
  readonly keeperSocket: string;
  readonly daemonSocket: string;
  readonly keeperRecord: string;
  readonly fuseRecord: string;
  readonly journal: string;
  readonly keeperCallsSocket: string;
  readonly layersSocket: string;
  readonly controlSocket: string;
  readonly keeperLog: string;
  /** The source that the FUSE mount shows in mount tables. */
  readonly fuseSource: string;
}

/** The layer server's descriptor of the FUSE connection, which the keeper opened. */
export const LAYER_SERVER_FUSE_FD = 3;

const RUNTIME_ROOT = "/run/soci-snapshotter";

/** The paths below a daemon's root, which must be absolute. */
export function nodePaths(root: string): NodePaths {
  const id = rootId(root);
  const runtime = join(RUNTIME_ROOT, id);
  return {
    root,
    fuse: join(root, "f"),
    mounts: join(root, "l"),
    heldFiles: join(root, "w"),
    slots: join(root, "slots"),
    incoming: join(root, "incoming"),
    warmUp: join(root, "warm-up"),
    store: join(root, "store"),
    layers: join(root, "store", "layers"),
    database: join(root, "layers.db"),
    keeperLog: join(root, "keeper.log"),
    runtime,
    keeperSocket: join(runtime, "keeper.sock"),
    daemonSocket: join(runtime, "daemon.sock"),
    keeperRecord: join(runtime, "keeper.json"),
    fuseRecord: join(runtime, "fuse.json"),
    journal: join(runtime, "journal"),
    keeperCallsSocket: join(runtime, "calls.sock"),
    layersSocket: join(runtime, "layers.sock"),
    controlSocket: join(runtime, "control.sock"),
    fuseSource: `soci-node:${id}`,
  };
}

function rootId(root: string): string {
  return createHash("sha256").update(root).digest("hex").slice(0, 8);
}
