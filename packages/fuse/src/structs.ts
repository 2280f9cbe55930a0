/*
 * The structs of the FUSE protocol 7.x, as the kernel lays them out (include/uapi/linux/fuse.h). Field names are the header's.
 * Offsets follow from the order; `struct.ts` checks alignment and size. Only what a read-only server meets is here.
 */

/** Starts every request. `total_extlen` counts extensions in units of 8 bytes; we negotiate none. */
export const FUSE_IN_HEADER = {
  name: "fuse_in_header",
  sizeBytes: 40,
  fields: [
    ["len", "u32"],
    ["opcode", "u32"],
    ["unique", "raw64"],
    ["nodeid", "u64"],
    ["uid", "u32"],
    ["gid", "u32"],
    ["pid", "u32"],
    ["total_extlen", "u16"],
    ["padding", "u16"],
  ],
} as const;

/** Starts every reply. `error` is 0 or a negative errno. */
export const FUSE_OUT_HEADER = {
  name: "fuse_out_header",
  sizeBytes: 16,
  fields: [
    ["len", "u32"],
    ["error", "i32"],
    ["unique", "raw64"],
  ],
} as const;

/** INIT up to protocol 7.35; later ones go on with `flags2` and 11 unused words. */
export const FUSE_INIT_IN = {
  name: "fuse_init_in",
  sizeBytes: 16,
  fields: [
    ["major", "u32"],
    ["minor", "u32"],
    ["max_readahead", "u32"],
    ["flags", "u32"],
  ],
} as const;

/** What follows {@link FUSE_INIT_IN} where the kernel sets FUSE_INIT_EXT. */
export const FUSE_INIT_IN_EXT = {
  name: "fuse_init_in.flags2",
  sizeBytes: 4,
  fields: [["flags2", "u32"]],
} as const;

/** The answer to INIT. */
export const FUSE_INIT_OUT = {
  name: "fuse_init_out",
  sizeBytes: 64,
  fields: [
    ["major", "u32"],
    ["minor", "u32"],
    ["max_readahead", "u32"],
    ["flags", "u32"],
    ["max_background", "u16"],
    ["congestion_threshold", "u16"],
    ["max_write", "u32"],
    ["time_gran", "u32"],
    ["max_pages", "u16"],
    ["map_alignment", "u16"],
    ["flags2", "u32"],
    ["max_stack_depth", "u32"],
    ["unused0", "u32"],
    ["unused1", "u32"],
    ["unused2", "u32"],
    ["unused3", "u32"],
    ["unused4", "u32"],
    ["unused5", "u32"],
  ],
} as const;

/** What stat(2) shows. Times are seconds, possibly before 1970. */
export const FUSE_ATTR = {
  name: "fuse_attr",
  sizeBytes: 88,
  fields: [
    ["ino", "u64"],
    ["size", "u64"],
    ["blocks", "u64"],
    ["atime", "i64"],
    ["mtime", "i64"],
    ["ctime", "i64"],
    ["atimensec", "u32"],
    ["mtimensec", "u32"],
    ["ctimensec", "u32"],
    ["mode", "u32"],
    ["nlink", "u32"],
    ["uid", "u32"],
    ["gid", "u32"],
    ["rdev", "u32"],
    ["blksize", "u32"],
    ["flags", "u32"],
  ],
} as const;

/** The front of `fuse_entry_out`; {@link FUSE_ATTR} follows: 40 + 88 = 128 bytes. */
export const FUSE_ENTRY_OUT = {
  name: "fuse_entry_out",
  sizeBytes: 40,
  fields: [
    ["nodeid", "u64"],
    ["generation", "u64"],
    ["entry_valid", "u64"],
    ["attr_valid", "u64"],
    ["entry_valid_nsec", "u32"],
    ["attr_valid_nsec", "u32"],
  ],
} as const;

/** The front of `fuse_attr_out`; {@link FUSE_ATTR} follows: 16 + 88 = 104 bytes. */
export const FUSE_ATTR_OUT = {
  name: "fuse_attr_out",
  sizeBytes: 16,
  fields: [
    ["attr_valid", "u64"],
    ["attr_valid_nsec", "u32"],
    ["dummy", "u32"],
  ],
} as const;

/** GETATTR's body; we need none of it. */
export const FUSE_GETATTR_IN = {
  name: "fuse_getattr_in",
  sizeBytes: 16,
  fields: [
    ["getattr_flags", "u32"],
    ["dummy", "u32"],
    ["fh", "raw64"],
  ],
} as const;

/** OPEN's and OPENDIR's body. */
export const FUSE_OPEN_IN = {
  name: "fuse_open_in",
  sizeBytes: 8,
  fields: [
    ["flags", "u32"],
    ["open_flags", "u32"],
  ],
} as const;

/** The answer to OPEN and OPENDIR. */
export const FUSE_OPEN_OUT = {
  name: "fuse_open_out",
  sizeBytes: 16,
  fields: [
    ["fh", "raw64"],
    ["open_flags", "u32"],
    ["backing_id", "i32"],
  ],
} as const;

/** The body of READ, READDIR and READDIRPLUS. */
export const FUSE_READ_IN = {
  name: "fuse_read_in",
  sizeBytes: 40,
  fields: [
    ["fh", "raw64"],
    ["offset", "u64"],
    ["size", "u32"],
    ["read_flags", "u32"],
    ["lock_owner", "raw64"],
    ["flags", "u32"],
    ["padding", "u32"],
  ],
} as const;

/** Before each name in a READDIR answer; the name follows, padded to 8 bytes. */
export const FUSE_DIRENT = {
  name: "fuse_dirent",
  sizeBytes: 24,
  fields: [
    ["ino", "u64"],
    ["off", "u64"],
    ["namelen", "u32"],
    ["type", "u32"],
  ],
} as const;

/** GETXATTR's (before the name) and LISTXATTR's body. */
export const FUSE_GETXATTR_IN = {
  name: "fuse_getxattr_in",
  sizeBytes: 8,
  fields: [
    ["size", "u32"],
    ["padding", "u32"],
  ],
} as const;

/** The answer to GETXATTR and LISTXATTR with size 0: how many bytes there are. */
export const FUSE_GETXATTR_OUT = {
  name: "fuse_getxattr_out",
  sizeBytes: 8,
  fields: [
    ["size", "u32"],
    ["padding", "u32"],
  ],
} as const;

/** INTERRUPT's body: which request. */
export const FUSE_INTERRUPT_IN = {
  name: "fuse_interrupt_in",
  sizeBytes: 8,
  fields: [["unique", "raw64"]],
} as const;

/** FORGET's body. */
export const FUSE_FORGET_IN = {
  name: "fuse_forget_in",
  sizeBytes: 8,
  fields: [["nlookup", "raw64"]],
} as const;

/** BATCH_FORGET's body; `count` times {@link FUSE_FORGET_ONE} follow. */
export const FUSE_BATCH_FORGET_IN = {
  name: "fuse_batch_forget_in",
  sizeBytes: 8,
  fields: [
    ["count", "u32"],
    ["dummy", "u32"],
  ],
} as const;

/** One node of a BATCH_FORGET. */
export const FUSE_FORGET_ONE = {
  name: "fuse_forget_one",
  sizeBytes: 16,
  fields: [
    ["nodeid", "raw64"],
    ["nlookup", "raw64"],
  ],
} as const;

/** The body of the notification INVAL_INODE: which pages of a node are to go. `len` 0 or less: all from `off` on. */
export const FUSE_NOTIFY_INVAL_INODE_OUT = {
  name: "fuse_notify_inval_inode_out",
  sizeBytes: 24,
  fields: [
    ["ino", "u64"],
    ["off", "i64"],
    ["len", "i64"],
  ],
} as const;

/** The answer to STATFS (`fuse_kstatfs`). */
export const FUSE_STATFS_OUT = {
  name: "fuse_statfs_out",
  sizeBytes: 80,
  fields: [
    ["blocks", "u64"],
    ["bfree", "u64"],
    ["bavail", "u64"],
    ["files", "u64"],
    ["ffree", "u64"],
    ["bsize", "u32"],
    ["namelen", "u32"],
    ["frsize", "u32"],
    ["padding", "u32"],
    ["spare0", "u32"],
    ["spare1", "u32"],
    ["spare2", "u32"],
    ["spare3", "u32"],
    ["spare4", "u32"],
    ["spare5", "u32"],
  ],
} as const;
