/** What caches may take of a disk. */
export interface CacheLimits {
  /** Disk space of all caches together; 0: as much as there is. */
  readonly quotaBytes: number;
  /** Free space of the file system below which caches give way. */
  readonly minFreeBytes: number;
}

/** What they take now. */
export interface SpaceUse {
  /** Disk space of all caches; counted only where there is a quota. */
  readonly allocatedBytes: number;
  /** Free space of their file system. */
  readonly freeBytes: number;
}

/** Caches go down to this share of the quota, so that not each byte that comes sets them going again. */
const LOW_SHARE = 0.9;

/** They go on until there is this much more free than there must be. */
const FREE_SHARE = 1.1;

/** Bytes that are to go; 0 if all is well. */
export function excessBytes(limits: CacheLimits, use: SpaceUse): number {
  const { quotaBytes, minFreeBytes } = limits;
  const isOver = quotaBytes > 0 && use.allocatedBytes > quotaBytes;
  const overQuota = isOver ? use.allocatedBytes - quotaBytes * LOW_SHARE : 0;
  const isShort = use.freeBytes < minFreeBytes;
  const missing = isShort ? minFreeBytes * FREE_SHARE - use.freeBytes : 0;
  return Math.ceil(Math.max(overQuota, missing));
}

/** True if there is room for what nobody has asked for yet: filling it never makes anything go. */
export function isRoomy({ quotaBytes, minFreeBytes }: CacheLimits, use: SpaceUse): boolean {
  const isBelow = quotaBytes === 0 || use.allocatedBytes < quotaBytes * LOW_SHARE;
  return isBelow && use.freeBytes > minFreeBytes * FREE_SHARE;
}
