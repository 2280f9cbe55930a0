import type { FailureListener } from "@soci-ts/containerd-api";
import { AppError, type ErrorCode, type Logger } from "@soci-ts/core";
import type { SnapshotService } from "@soci-ts/snapshotter";
import type { NodeMetrics } from "../metrics.ts";

/** Failures that say something of the node; the others are answers that containerd expects. */
const NEWS: readonly ErrorCode[] = [
  "unavailable",
  "internal",
  "data_loss",
  "resource_exhausted",
  "unimplemented",
];

/** Logs calls that fail for a reason of ours. */
export function failureListener(logger: Logger): FailureListener {
  return (path, { code, message }) => {
    const fields = { method: path.slice(path.lastIndexOf("/") + 1), code, error: message };
    if (NEWS.includes(code)) logger.error("call failed", fields);
    else logger.debug("call failed", fields);
  };
}

/** The contract, with its calls counted and timed. */
export function meteredSnapshots(service: SnapshotService, metrics: NodeMetrics): SnapshotService {
  const metered = async <T>(method: string, call: () => Promise<T>): Promise<T> => {
    const startedMs = performance.now();
    let code = "OK";
    try {
      return await call();
    } catch (error) {
      code = AppError.from(error).code.toUpperCase();
      throw error;
    } finally {
      metrics.count("soci_snapshotter_rpcs_total", 1, { method, code });
      const seconds = (performance.now() - startedMs) / 1000;
      metrics.observe("soci_snapshotter_rpc_duration_seconds", seconds, { method });
    }
  };
  return {
    prepare: (...args) => metered("Prepare", () => service.prepare(...args)),
    view: (...args) => metered("View", () => service.view(...args)),
    mounts: (...args) => metered("Mounts", () => service.mounts(...args)),
    commit: (...args) => metered("Commit", () => service.commit(...args)),
    remove: (...args) => metered("Remove", () => service.remove(...args)),
    stat: (...args) => metered("Stat", () => service.stat(...args)),
    update: (...args) => metered("Update", () => service.update(...args)),
    list: (filters) => service.list(filters),
    usage: (...args) => metered("Usage", () => service.usage(...args)),
    cleanup: () => metered("Cleanup", () => service.cleanup()),
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}
