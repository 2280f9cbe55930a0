import { closeSync } from "node:fs";
import { AppError } from "@soci-ts/core";
import { errnoName, systemError } from "./errno.ts";
import { type CallResult, type Libc, loadLibc } from "./ffi.ts";
import { findMountOf } from "./mount-table.ts";

/** From `linux/mount.h` and `linux/fcntl.h`. */
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const AT_EMPTY_PATH = 0x1000;
const MOUNT_ATTR_IDMAP = 0x100000n;

/**
 * Shows a directory at a second place with its owners shifted by a user namespace's maps (Linux 5.12): open_tree, mount_setattr, move_mount.
 * Mounts below `source` are not part of it.
 * @param userNamespace - a descriptor of {@link openUserNamespace}; may be closed afterwards.
 * @throws AppError `unimplemented` if kernel or file system can't, or FFI is missing; else with `details.errno`.
 */
export function idMapMount(source: string, target: string, userNamespace: number): void {
  const libc = loadLibc();
  if (libc === undefined) {
    const message = `Cannot shift the owners of "${source}": FFI is not available, want the package koffi installed`;
    throw new AppError("unimplemented", message);
  }
  const what = `shift the owners of "${source}"`;
  const tree = take(libc.openTree(source, OPEN_TREE_CLONE + OPEN_TREE_CLOEXEC), what);
  try {
    shift(libc, tree, { source, what, userNamespace });
    take(libc.moveMount(tree, target, MOVE_MOUNT_F_EMPTY_PATH), `mount on "${target}"`);
  } finally {
    closeSync(tree);
  }
}

function shift(
  libc: Libc,
  tree: number,
  to: { readonly source: string; readonly what: string; readonly userNamespace: number },
): void {
  const { errno } = libc.mountSetattr(tree, AT_EMPTY_PATH, mountAttributes(to.userNamespace));
  if (errno === 0) return;
  if (errnoName(errno) !== "EINVAL") throw systemError(to.what, errnoName(errno));
  const type = findMountOf(to.source)?.type ?? "this file system";
  const message = `Cannot ${to.what}: ${type} can't be id-mapped here, want ${remedy(type)}`;
  throw new AppError("unimplemented", message, { details: { errno: "EINVAL", type } });
}

function remedy(type: string): string {
  if (type === "erofs") return "Linux 5.19 or later";
  if (type === "fuse") return "Linux 6.12 or later and a server that negotiates FUSE_ALLOW_IDMAP";
  return "a file system that supports it, such as ext4 or xfs";
}

/** `struct mount_attr`: attr_set, attr_clr, propagation, userns_fd. */
function mountAttributes(userNamespace: number): Uint8Array {
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP, 0);
  attributes.writeBigUInt64LE(BigInt(userNamespace), 24);
  return attributes;
}

function take({ value, errno }: CallResult, what: string): number {
  if (errno !== 0) throw systemError(what, errnoName(errno));
  return value;
}
