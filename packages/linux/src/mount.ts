import { AppError } from "@soci-ts/core";
import { errnoName, systemError } from "./errno.ts";
import { loadLibc } from "./ffi.ts";
import { MNT_DETACH, type MountFlag, mountFlagBits } from "./mount-flags.ts";
import { runTool, toolError } from "./run-tool.ts";

/** What to mount where. Paths are absolute. */
export interface MountRequest {
  /** A device, a file or a word, as the file system wants it. */
  readonly source: string;
  readonly target: string;
  /** File system type, for example `overlay`. Ignored with the flag `bind`. */
  readonly type: string;
  readonly flags?: readonly MountFlag[];
  /** The file system's own options, comma-separated. The kernel takes at most {@link MAX_MOUNT_DATA_BYTES}. */
  readonly data?: string;
}

/** mount(2) copies its option string into one page, the ending zero included. */
export const MAX_MOUNT_DATA_BYTES = 4095;

/**
 * Mounts a file system: mount(2) by FFI, else mount(8) in a child.
 *
 * The kernel may read from `source` and from paths in `data` before the call returns. A process that serves one of them
 * through FUSE would wait for itself: it must never call this.
 * @throws AppError with `details.errno`; `unimplemented` if the kernel lacks the file system; `resource_exhausted` if the options
 *   do not fit one page; `failed_precondition` for EROFS from a file without FFI, because mount(8) would put a loop device in between.
 */
export async function mount(request: MountRequest): Promise<void> {
  const data = request.data ?? "";
  const sizeBytes = Buffer.byteLength(data);
  if (sizeBytes > MAX_MOUNT_DATA_BYTES) {
    throw new AppError(
      "resource_exhausted",
      `Cannot mount ${request.type} on "${request.target}": its options have ${sizeBytes} bytes, want at most ${MAX_MOUNT_DATA_BYTES}`,
    );
  }
  const libc = loadLibc();
  if (libc === undefined) return await mountByChild(request, data);
  const flags = mountFlagBits(request.flags ?? []);
  const errno = libc.mount(request.source, request.target, request.type, flags, data || null);
  if (errno !== 0) throw mountError(request, errnoName(errno));
}

/** How to unmount. */
export interface UnmountOptions {
  /** Take the mount away even if it is busy; the kernel ends it when its last user has gone. For dead mounts. */
  readonly detach?: boolean;
}

/**
 * Unmounts what is mounted on top at `target`: umount2(2) by FFI, else umount(8) in a child.
 * @throws AppError `failed_precondition` with `details.errno` EBUSY while the mount is used, or EINVAL if nothing is mounted there.
 */
export async function unmount(target: string, options: UnmountOptions = {}): Promise<void> {
  const libc = loadLibc();
  if (libc === undefined) return await unmountInChild(target, options);
  const errno = libc.umount2(target, options.detach === true ? MNT_DETACH : 0);
  if (errno !== 0)
    throw systemError(`unmount "${target}"`, errnoName(errno), UNMOUNT_HINTS[errnoName(errno)]);
}

const UNMOUNT_HINTS: Readonly<Record<string, string>> = {
  EBUSY: "it is in use: want no process with an open file or its working directory there",
  EINVAL: "nothing is mounted there",
  EPERM: "want CAP_SYS_ADMIN (run as root)",
};

const MOUNT_HINTS: Readonly<Record<string, string>> = {
  ENODEV: "the kernel does not have this file system",
  EPERM: "want CAP_SYS_ADMIN (run as root)",
};

function mountError(request: MountRequest, errno: string): AppError {
  return systemError(`mount ${request.type} on "${request.target}"`, errno, MOUNT_HINTS[errno]);
}

async function mountByChild(request: MountRequest, data: string): Promise<void> {
  if (request.type === "erofs" && !request.source.startsWith("/dev/")) {
    throw new AppError(
      "failed_precondition",
      `Cannot mount erofs on "${request.target}": FFI is not available and mount(8) would use a loop device; want the package koffi installed`,
    );
  }
  const options = [...(request.flags ?? []), ...(data === "" ? [] : [data])].join(",");
  const args = ["-i", "-n", "-t", request.type];
  if (options !== "") args.push("-o", options);
  args.push("--", request.source, request.target);
  const { failure } = await runTool("mount", args);
  if (failure !== undefined)
    throw toolError(`mount ${request.type} on "${request.target}"`, failure);
}

/**
 * {@link unmount} by umount(8): the last user of a file system waits for all reads in flight, which nothing can interrupt, and this way a child does.
 * @throws AppError as {@link unmount}.
 */
export async function unmountInChild(target: string, options: UnmountOptions = {}): Promise<void> {
  const args = ["-i", "-n", ...(options.detach === true ? ["-l"] : []), "--", target];
  const { failure } = await runTool("umount", args);
  if (failure !== undefined) throw toolError(`unmount "${target}"`, failure);
}
