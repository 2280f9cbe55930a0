/** Longest file name, in bytes (`NAME_MAX`). */
export const MAX_NAME_BYTES = 255;
/** Longest target of a symbolic link, in bytes (`PATH_MAX` less the terminator). */
export const MAX_LINK_TARGET_BYTES = 4095;
/** Deepest directory: no path of `PATH_MAX` bytes reaches further. */
export const MAX_DEPTH = 2048;
/** Most data devices of one image. */
export const MAX_DEVICES = 1024;
/** Largest device, in bytes: its length is told in 32 bits, in blocks of 512. */
export const MAX_DEVICE_BYTES: number = 0xffffffff * 512;
/** Largest image, in bytes: some ten million files. */
export const MAX_IMAGE_BYTES: number = 2 ** 30;
/** Largest value of one xattr: its length is a u16 (the kernel would take one byte more). */
export const MAX_XATTR_VALUE_BYTES = 0xffff;
