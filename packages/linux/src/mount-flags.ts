/** Mount flags by the names that mount(8) gives them; the last rows stand for operations, as in mount(2). */
export type MountFlag = keyof typeof MOUNT_FLAG_BITS;

/** Values from `linux/mount.h`. Each is one bit. */
const MOUNT_FLAG_BITS = {
  ro: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x400,
  remount: 0x20,
  bind: 0x1000,
  move: 0x2000,
  rec: 0x4000,
  private: 0x40000,
  slave: 0x80000,
} as const;

/** `MNT_DETACH` of umount2(2): take the mount out of the tree now, end it when nobody uses it any more. */
export const MNT_DETACH = 2;

/** The `flags` argument of mount(2): distinct bits, so their sum is their union. */
export function mountFlagBits(flags: readonly MountFlag[]): number {
  return [...new Set(flags)].reduce((bits, flag) => bits + MOUNT_FLAG_BITS[flag], 0);
}
