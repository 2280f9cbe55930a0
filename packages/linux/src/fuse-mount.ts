import { closeSync, constants, openSync } from "node:fs";
import { AppError } from "@soci-ts/core";
import { ffiAvailable } from "./ffi.ts";
import { type MountRequest, mount } from "./mount.ts";
import { runTool, toolError } from "./run-tool.ts";

/** Largest read that the kernel sends through our FUSE mounts: 256 pages. */
const MAX_READ_BYTES = 1_048_576;

/**
 * Opens `/dev/fuse`. The descriptor becomes a connection once {@link fuseMount} has used it; the connection ends, and its
 * mount is dead, when the last process that holds the descriptor has closed it.
 * @throws AppError `failed_precondition` with what to do about it.
 */
export function openFuseDevice(): number {
  try {
    return openSync("/dev/fuse", constants.O_RDWR);
  } catch (error) {
    throw deviceError(error as NodeJS.ErrnoException);
  }
}

function deviceError(cause: NodeJS.ErrnoException): AppError {
  const message = `Cannot open "/dev/fuse": ${cause.code ?? cause.message}; ${fuseDeviceFix(cause.code)}`;
  return new AppError("failed_precondition", message, { cause });
}

/** What to do when `/dev/fuse` does not open. */
export function fuseDeviceFix(errno: string | undefined): string {
  if (errno === "ENOENT") {
    return "run `modprobe fuse`; in a container, add `--device /dev/fuse`";
  }
  if (errno === "ENODEV" || errno === "ENXIO") return "run `modprobe fuse`";
  return "run as root; in a container, add `--device /dev/fuse --cap-add SYS_ADMIN`";
}

/** A FUSE mount to make. */
export interface FuseMountRequest {
  /** A descriptor from {@link openFuseDevice}. */
  readonly fd: number;
  readonly target: string;
  /** Shown as the mount's source in mount tables. */
  readonly source: string;
}

/**
 * Mounts a read-only FUSE file system served through `fd`, for all users, with the kernel checking permissions. Returns at
 * once: the kernel queues its INIT for whoever reads the descriptor. Set-id bits and device nodes have no effect on this mount;
 * an overlay over it decides that for itself.
 * @throws AppError as {@link mount}.
 */
export async function fuseMount(request: FuseMountRequest): Promise<void> {
  const options = (fd: number): string =>
    `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=${MAX_READ_BYTES}`;
  const { target, source } = request;
  const flags: MountRequest["flags"] = ["ro", "nosuid", "nodev"];
  if (ffiAvailable()) {
    return await mount({ source, target, type: "fuse", flags, data: options(request.fd) });
  }
  const inChild = `${flags.join(",")},${options(3)}`;
  const args = ["-i", "-n", "-t", "fuse", "-o", inChild, "--", source, target];
  const { failure } = await runTool("mount", args, [request.fd]);
  if (failure !== undefined) throw toolError(`mount fuse on "${target}"`, failure);
}

/** The errno of opening `/dev/fuse`, or `undefined` if it opens. */
export function tryFuseDevice(): string | undefined {
  try {
    closeSync(openSync("/dev/fuse", constants.O_RDWR));
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
