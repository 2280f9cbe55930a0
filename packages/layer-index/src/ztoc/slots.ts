/** The one version of the format. */
export const ZTOC_VERSION = "0.9";

/** The build tool that ztocs name by default: the reference's, so that equal layers give equal ztocs whoever builds them. */
export const DEFAULT_BUILD_TOOL = "AWS SOCI CLI v0.2";

/*
 * Slot numbers of the tables' fields, in the order of `FORMAT.md`. A slot's entry in a vtable is at 4 + 2 * slot.
 */

/** Fields of the root table. */
export const ZTOC = {
  version: 0,
  buildTool: 1,
  compressedSize: 2,
  uncompressedSize: 3,
  toc: 4,
  compressionInfo: 5,
  fieldCount: 6,
} as const;

/** Fields of the table that holds the file table. */
export const TOC = { metadata: 0, fieldCount: 1 } as const;

/** Fields of a file. */
export const FILE = {
  name: 0,
  type: 1,
  uncompressedOffset: 2,
  uncompressedSize: 3,
  linkname: 4,
  mode: 5,
  uid: 6,
  gid: 7,
  uname: 8,
  gname: 9,
  modTime: 10,
  devmajor: 11,
  devminor: 12,
  xattrs: 13,
  fieldCount: 14,
} as const;

/** Fields of a PAX record. */
export const XATTR = { key: 0, value: 1, fieldCount: 2 } as const;

/** Fields of the table that says how the layer is compressed. */
export const COMPRESSION_INFO = {
  algorithm: 0,
  maxSpanId: 1,
  spanDigests: 2,
  checkpoints: 3,
  fieldCount: 4,
} as const;

/** Values of the algorithm field; absent means gzip. */
export const ALGORITHM_GZIP = 1;
/** See {@link ALGORITHM_GZIP}. */
export const ALGORITHM_UNCOMPRESSED = 2;

/** Fields of the table that stands in the place of gzip's checkpoints for an uncompressed layer. */
export const TAR_ZINFO = { version: 0, spanSize: 1, size: 2, fieldCount: 3 } as const;

/** The one version of {@link TAR_ZINFO}. */
export const TAR_ZINFO_VERSION = 2;
