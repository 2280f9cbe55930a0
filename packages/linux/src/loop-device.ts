import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { AppError } from "@soci-ts/core";
import { errnoName, systemError } from "./errno.ts";
import { type Libc, loadLibc } from "./ffi.ts";
import { runTool, toolError } from "./run-tool.ts";

/** A loop device that shows a file, read-only, in blocks of 512 bytes. */
export interface LoopDevice extends AsyncDisposable {
  /** `/dev/loopN`. */
  readonly path: string;
  /** Its name for {@link setReadAhead}. */
  readonly bdi: string;
  /**
   * Lets go of the device: it detaches itself from the file when its last user has gone, so one that a file system is mounted from stays until
   * that is unmounted, and one that nothing is mounted from goes now. So it does if this process is killed.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a loop device reads its file. */
export interface LoopOptions {
  /** Past the page cache of the file's file system, where that can be done. */
  readonly directIo?: boolean | undefined;
}

/** From `linux/loop.h`. */
const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;

const BLOCK_BYTES = 512;

/** Others look for a free device at the same moment: the loser of a race looks again. */
const MAX_ATTEMPTS = 100;

/**
 * Puts a loop device over a file: LOOP_CONFIGURE (Linux 5.8) by FFI, else losetup(8), whose device stays if this process is killed before it lets go.
 *
 * The kernel reads the file through the device, also before this returns: a process that serves the file through FUSE must never call this.
 * @throws AppError with `details.errno`; `unimplemented` if the kernel has no loop devices; `resource_exhausted` if none is to be had.
 */
export async function attachLoop(path: string, options: LoopOptions = {}): Promise<LoopDevice> {
  const libc = loadLibc();
  if (libc === undefined) return await attachLoopByChild(path, options);
  const file = openOr(path, path);
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const device = await tryAttach(libc, loopConfig(file, path, options), path);
      if (device !== undefined) return device;
    }
  } finally {
    closeSync(file);
  }
  const message = `Cannot attach a loop device to "${path}": every free one was taken by others, want one`;
  throw new AppError("resource_exhausted", message, { details: { errno: "EBUSY" } });
}

/** A loop device and the file that it shows. */
export interface AttachedLoop {
  /** `/dev/loopN`. */
  readonly path: string;
  /** As the kernel tells it: of a file system that is detached, the path inside it. */
  readonly file: string;
}

/** All loop devices that show a file now. */
export function listLoopDevices(): readonly AttachedLoop[] {
  return readdirSync("/sys/block").flatMap((name) => {
    const file = name.startsWith("loop") ? readSysfs(`${name}/loop/backing_file`) : undefined;
    return file === undefined ? [] : [{ path: `/dev/${name}`, file }];
  });
}

/** One attempt; `undefined` if another process was faster. */
async function tryAttach(
  libc: Libc,
  config: Uint8Array,
  path: string,
): Promise<LoopDevice | undefined> {
  const name = `loop${freeNumber(libc, path)}`;
  await makeNode(name);
  const device = openOr(`/dev/${name}`, path);
  const { errno } = libc.ioctl(device, LOOP_CONFIGURE, config);
  if (errno === 0) return heldDevice(name, async () => closeSync(device));
  closeSync(device);
  if (errnoName(errno) === "EBUSY") return undefined;
  throw attachError(path, errnoName(errno));
}

function freeNumber(libc: Libc, path: string): number {
  const control = openOr("/dev/loop-control", path);
  try {
    const { value, errno } = libc.ioctl(control, LOOP_CTL_GET_FREE, 0);
    if (errno !== 0) throw attachError(path, errnoName(errno));
    return value;
  } finally {
    closeSync(control);
  }
}

/** `struct loop_config`: descriptor, block size, `struct loop_info64` at 8 with its flags at 52 and its name at 56. */
function loopConfig(file: number, path: string, { directIo }: LoopOptions): Uint8Array {
  const config = Buffer.alloc(304);
  config.writeUInt32LE(file, 0);
  config.writeUInt32LE(BLOCK_BYTES, 4);
  const flags = LO_FLAGS_READ_ONLY + LO_FLAGS_AUTOCLEAR;
  config.writeUInt32LE(directIo === true ? flags + LO_FLAGS_DIRECT_IO : flags, 8 + 52);
  config.write(path, 8 + 56, 63);
  return config;
}

/** devtmpfs makes the nodes of new devices; a container's own /dev does not. */
async function makeNode(name: string): Promise<void> {
  const path = `/dev/${name}`;
  if (existsSync(path)) return;
  const [major = "7", minor = name.slice(4)] = readSysfs(`${name}/dev`)?.split(":") ?? [];
  const { failure } = await runTool("mknod", ["-m", "600", path, "b", major, minor]);
  if (failure !== undefined && !existsSync(path)) throw toolError(`make "${path}"`, failure);
}

function heldDevice(name: string, letGo: () => Promise<void>): LoopDevice {
  const bdi = readSysfs(`${name}/dev`) ?? `7:${name.slice(4)}`;
  return { path: `/dev/${name}`, bdi, [Symbol.asyncDispose]: letGo };
}

/** {@link attachLoop} where FFI is missing. */
export async function attachLoopByChild(
  path: string,
  { directIo }: LoopOptions = {},
): Promise<LoopDevice> {
  const direct = directIo === true ? ["--direct-io=on"] : [];
  const sizes = ["--sector-size", String(BLOCK_BYTES)];
  const args = ["--find", "--show", "--read-only", ...direct, ...sizes, path];
  const { output, failure } = await runTool("losetup", args);
  if (failure !== undefined) throw toolError(`attach a loop device to "${path}"`, failure);
  const device = output.trim();
  // Of a device in use this only says that it goes with its last user.
  return heldDevice(basename(device), async () => {
    await runTool("losetup", ["--detach", device]);
  });
}

function openOr(file: string, path: string): number {
  try {
    return openSync(file, constants.O_RDONLY);
  } catch (error) {
    throw attachError(path, (error as NodeJS.ErrnoException).code ?? "EIO", file);
  }
}

function attachError(path: string, errno: string, file = path): AppError {
  const what = `attach a loop device to "${path}"`;
  if (!file.startsWith("/dev/")) return systemError(what, errno);
  const message = `Cannot ${what}: opening "${file}" fails with ${errno}; run \`modprobe loop\` as root`;
  return new AppError("unimplemented", message, { details: { errno } });
}

/** A file of `/sys/block`; `undefined` if it is not there. */
function readSysfs(path: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${path}`, "utf8").trimEnd();
  } catch {
    return undefined; // not attached, gone meanwhile, or no sysfs
  }
}
