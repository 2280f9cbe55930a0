/** Request numbers of FUSE 7.x, by the header's names without `FUSE_`; only those that we decode. */
export const OPCODES = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  READLINK: 5,
  OPEN: 14,
  READ: 15,
  STATFS: 17,
  RELEASE: 18,
  GETXATTR: 22,
  LISTXATTR: 23,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  ACCESS: 34,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  READDIRPLUS: 44,
} as const;

/** The name of a request that we decode. */
export type OpcodeName = keyof typeof OPCODES;

const NAMES: ReadonlyMap<number, OpcodeName> = new Map(
  Object.entries(OPCODES).map(([name, opcode]) => [opcode, name as OpcodeName]),
);

/** The name of a request number, or `undefined` for those that we do not decode. */
export function opcodeName(opcode: number): OpcodeName | undefined {
  return NAMES.get(opcode);
}

/** The node id of the mount's root. */
export const FUSE_ROOT_ID = 1;

/** The major protocol version; there has been one since 2005. */
export const FUSE_KERNEL_VERSION = 7;

/** The newest minor version whose structs we know. */
export const FUSE_KERNEL_MINOR_VERSION = 41;

/** INIT flags that we may ask for; bit numbers 0–31 stand in `flags`, 32–63 in `flags2`. */
export const FUSE_INIT_FLAGS = {
  ASYNC_READ: 0,
  DO_READDIRPLUS: 13,
  READDIRPLUS_AUTO: 14,
  NO_OPEN_SUPPORT: 17,
  PARALLEL_DIROPS: 18,
  POSIX_ACL: 20,
  MAX_PAGES: 22,
  CACHE_SYMLINKS: 23,
  NO_OPENDIR_SUPPORT: 24,
  INIT_EXT: 30,
  HAS_RESEND: 39,
  ALLOW_IDMAP: 40,
} as const;

/** The name of an INIT flag that we may ask for. */
export type InitFlagName = keyof typeof FUSE_INIT_FLAGS;

/** Code of the notification that has the kernel send again what was taken and not answered; those come with bit 63 of `unique` set. */
export const FUSE_NOTIFY_RESEND = 7;

/** Code of the notification that has the kernel drop cached pages of a node. */
export const FUSE_NOTIFY_INVAL_INODE = 2;

/** OPEN reply flags: keep cached pages, keep the cached directory listing. */
export const FOPEN_KEEP_CACHE = 2;
/** See {@link FOPEN_KEEP_CACHE}. */
export const FOPEN_CACHE_DIR = 8;

/** Bytes of the buffer for one request: above the kernel's minimum (8192) and `max_write` plus headers. */
export const REQUEST_BUFFER_BYTES = 16_384;

/** `max_write`: nothing is written through a read-only mount, so the smallest the kernel accepts. */
export const MAX_WRITE_BYTES = 4096;

/** Pages in one READ: 256 of 4 KiB are 1 MiB. */
export const MAX_PAGES = 256;
