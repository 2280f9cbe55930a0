import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import { errnoName, systemError } from "./errno.ts";
import { loadLibc } from "./ffi.ts";

/* ioctl_iflags(2): the requests are made for a long, and what is passed is an int all the same. */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IMMUTABLE_FL = 0x10;

const { ENOTTY, EOPNOTSUPP, EINVAL, ENOSYS, EPERM } = constants.errno;
const UNSUPPORTED = new Set([ENOTTY, EOPNOTSUPP, EINVAL, ENOSYS, EPERM]);

/**
 * Makes a file immutable, or changeable again (chattr(1) `+i`, `-i`): nobody can write to it, shorten it, give it another name or delete it, root included.
 * @returns false if its file system has no such thing, the process may not do it (CAP_LINUX_IMMUTABLE), or there is no FFI.
 * @throws AppError if the file can't be opened, or the call fails in another way.
 */
export function setImmutable(path: string, isImmutable: boolean): boolean {
  const libc = loadLibc();
  if (libc === undefined) return false;
  const fd = openSync(path, "r");
  try {
    const flags = new Int32Array(2);
    const bytes = new Uint8Array(flags.buffer);
    const { errno } = libc.ioctl(fd, FS_IOC_GETFLAGS, bytes);
    if (UNSUPPORTED.has(errno)) return false;
    if (errno !== 0) throw systemError(`read the flags of "${path}"`, errnoName(errno));
    const [before = 0] = flags;
    const wasImmutable = before % (2 * FS_IMMUTABLE_FL) >= FS_IMMUTABLE_FL;
    if (wasImmutable === isImmutable) return true;
    flags[0] = isImmutable ? before + FS_IMMUTABLE_FL : before - FS_IMMUTABLE_FL;
    const set = libc.ioctl(fd, FS_IOC_SETFLAGS, bytes);
    if (UNSUPPORTED.has(set.errno)) return false;
    if (set.errno !== 0) throw systemError(`set the flags of "${path}"`, errnoName(set.errno));
    return true;
  } finally {
    closeSync(fd);
  }
}
