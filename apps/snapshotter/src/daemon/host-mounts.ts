import { readlinkSync } from "node:fs";
import { AppError } from "@soci-ts/core";

/**
 * Refuses to go on in a mount namespace of this process's own: mounts made there are seen by no container. What counts is the namespace of PID 1, the
 * machine's or, for a daemon in a container with containerd, the container's. Where PID 1 can't be looked at (no CAP_SYS_PTRACE, or it forbids it) nothing is
 * known against this one, and a node that works is not to be kept down.
 * @throws AppError `failed_precondition` that says what to do.
 */
export function requireHostMounts(
  readNamespace: (pid: "1" | "self") => string | undefined = mountNamespace,
): void {
  const host = readNamespace("1");
  const own = readNamespace("self");
  if (host === undefined || own === undefined || host === own) return;
  const message = `Cannot run in mount namespace ${own}: containers would not see its mounts, want that of PID 1 (${host}). Under systemd, remove options that imply one (PrivateTmp=, ProtectSystem=, ProtectHome=, ReadWritePaths= and the like: see the unit in deploy/systemd); elsewhere, start it with \`nsenter --target 1 --mount\``;
  throw new AppError("failed_precondition", message);
}

function mountNamespace(pid: "1" | "self"): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined; // see above
  }
}
