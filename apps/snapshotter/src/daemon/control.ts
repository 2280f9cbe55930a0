import { AppError } from "@soci-ts/core";
import type { JsonValue } from "@soci-ts/snapshotter";
import { callLocal } from "@soci-ts/snapshotter/local-call";
import { nodePaths } from "@soci-ts/snapshotter/paths";
import type { Config } from "../config.ts";
import type {
  ControlClient,
  ExplainDocument,
  GarbageDocument,
  StatusDocument,
} from "../documents.ts";

/** How long a command waits for the daemon. */
const CALL_TIMEOUT_MS = 30_000;

/** Deleting is slow on some disks. */
const GC_TIMEOUT_MS = 600_000;

/** The control socket of the daemon that runs on a root, from outside. Only root can connect. */
export function controlClient({ root }: Config): ControlClient {
  const { controlSocket } = nodePaths(root);
  const call = async (
    method: string,
    params: JsonValue,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<unknown> => {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      return await callLocal(controlSocket, method, params, { signal });
    } catch (error) {
      throw controlError(root, AppError.from(error));
    }
  };
  return {
    status: async () => (await call("status", null)) as StatusDocument,
    explain: async (subject) => (await call("explain", subject)) as ExplainDocument,
    gc: async ({ all }) =>
      (await call("gc", all ? "all" : "limits", GC_TIMEOUT_MS)) as GarbageDocument,
    drain: async () => (await call("drain", null)) as { readonly left: readonly string[] },
    async [Symbol.asyncDispose]() {},
  };
}

function controlError(root: string, cause: AppError): AppError {
  if (cause.code !== "unavailable") return cause;
  const message = `Cannot reach the daemon of "${root}": want it to run, and the same --root or --config as it has`;
  return new AppError("unavailable", message, { cause });
}
