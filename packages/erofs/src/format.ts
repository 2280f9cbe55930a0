/**
 * The parts of the EROFS on-disk format that this package writes and reads. All integers are little-endian; FORMAT.md has the
 * tables in prose. Facts: Linux `fs/erofs/erofs_fs.h` (v6.18), https://erofs.docs.kernel.org/en/latest/ondisk/.
 */

/** Magic number at the start of the super block. */
export const EROFS_SUPER_MAGIC_V1 = 0xe0f5e1e2;
/** Where the super block starts in the image, in bytes. */
export const EROFS_SUPER_OFFSET = 1024;
/** log2 of {@link BLOCK_BYTES}. 512 because tar data is aligned to 512: blocks of the tar are blocks of the device. */
export const BLOCK_BITS = 9;
/** Bytes in a block. */
export const BLOCK_BYTES = 512;
/** Bytes in an inode slot; a node id (nid) is an inode's byte offset from the metadata area, divided by this. */
export const SLOT_BYTES = 32;
/** The image's length is a multiple of this, so that no page-sized block device cuts it off. */
export const IMAGE_ALIGN_BYTES = 4096;

/** `feature_compat`: times in inodes are modification times. */
export const EROFS_FEATURE_COMPAT_MTIME = 0x2;
/** `feature_incompat`: files may be made of chunks. */
export const EROFS_FEATURE_INCOMPAT_CHUNKED_FILE = 0x4;
/** `feature_incompat`: there is a device table. */
export const EROFS_FEATURE_INCOMPAT_DEVICE_TABLE = 0x8;

/** Field offsets in the super block (128 bytes). */
export const SUPER = {
  magic: 0,
  checksum: 4,
  featureCompat: 8,
  blockBits: 12,
  extensionSlots: 13,
  rootNid: 14,
  inodeCount: 16,
  epochSec: 24,
  epochNsec: 32,
  blockCount: 36,
  metaBlock: 40,
  xattrBlock: 44,
  uuid: 48,
  volumeName: 64,
  featureIncompat: 80,
  compression: 84,
  extraDevices: 86,
  deviceTableSlot: 88,
  directoryBlockBits: 90,
  size: 128,
} as const;

/** Field offsets in a device slot (128 bytes). */
export const DEVICE = { tag: 0, tagBytes: 64, blockCount: 64, mappedBlock: 68, size: 128 } as const;

/** Field offsets in an extended inode (64 bytes). */
export const EXTENDED = {
  format: 0,
  xattrCount: 2,
  mode: 4,
  size: 8,
  union: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtimeSec: 32,
  mtimeNsec: 40,
  nlink: 44,
  bytes: 64,
} as const;

/** Field offsets in a compact inode (32 bytes): its time is the super block's epoch. */
export const COMPACT = {
  format: 0,
  xattrCount: 2,
  mode: 4,
  nlink: 6,
  size: 8,
  mtime: 12,
  union: 16,
  ino: 20,
  uid: 24,
  gid: 26,
  bytes: 32,
} as const;

/** Data layout: whole blocks. */
export const EROFS_INODE_FLAT_PLAIN = 0;
/** Data layout: whole blocks, and the last part of a block right after the inode. */
export const EROFS_INODE_FLAT_INLINE = 2;
/** Data layout: chunks named by an index after the inode. */
export const EROFS_INODE_CHUNK_BASED = 4;

/** Chunk format: 8-byte indexes, which can name a device. The low five bits are log2(chunk blocks). */
export const EROFS_CHUNK_FORMAT_INDEXES = 0x20;
/** Chunk format: the bits that hold log2(chunk blocks). */
export const EROFS_CHUNK_FORMAT_BLKBITS_MASK = 0x1f;
/** Bytes in a chunk index: reserved u16, device u16, block u32. */
export const CHUNK_INDEX_BYTES = 8;
/** Block addresses are 32 bits wide: this is one past the last byte that can be addressed on a device (2 TiB). */
export const ADDRESSABLE_BYTES: number = 2 ** 32 * BLOCK_BYTES;

/** Bytes in a directory entry: nid u64, name offset u16, file type u8, reserved u8. */
export const DIRENT_BYTES = 12;

/** Bytes before the first inline xattr of an inode. */
export const XATTR_HEADER_BYTES = 12;
/** Bytes before an xattr's name: name length u8, prefix u8, value length u16. */
export const XATTR_ENTRY_BYTES = 4;
/** The largest xattr body that `i_xattr_icount` (u16) can say: 12 + 4 · (65535 − 1). */
export const MAX_XATTR_BODY_BYTES: number = XATTR_HEADER_BYTES + 4 * (0xffff - 1);

/** Xattr name prefixes by their number on disk. Two of them are whole names. */
export const XATTR_PREFIXES: readonly (readonly [index: number, prefix: string])[] = [
  [1, "user."],
  [2, "system.posix_acl_access"],
  [3, "system.posix_acl_default"],
  [4, "trusted."],
  [6, "security."],
];

/** What a kind of file is on disk: the type bits of its mode, and the type in directory entries. */
export const KINDS = {
  reg: { modeBits: 0o100000, direntType: 1 },
  dir: { modeBits: 0o040000, direntType: 2 },
  char: { modeBits: 0o020000, direntType: 3 },
  block: { modeBits: 0o060000, direntType: 4 },
  fifo: { modeBits: 0o010000, direntType: 5 },
  socket: { modeBits: 0o140000, direntType: 6 },
  symlink: { modeBits: 0o120000, direntType: 7 },
} as const;

/** The format's name in errors. */
export const FORMAT_NAME = "EROFS image";
