import { statfs } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import { formatBytes } from "../output.ts";
import type { Session } from "../wire.ts";
import type { Finding } from "./finding.ts";

const CHECK = "local store";
/** Below this an index of a large image does not fit. */
const LOW_SPACE_BYTES = 1_000_000_000;

/** Whether the store opens, has all blobs that its catalogue names, and has room. */
export async function checkStore(session: Session): Promise<Finding[]> {
  const { root } = session.config;
  try {
    const store = await session.store();
    const indexes = store.listIndexes();
    const ztocs = store.listZtocs();
    const digests = [...indexes, ...ztocs].map(({ digest }) => digest);
    const missing: string[] = [];
    for (const digest of new Set(digests)) {
      if (!(await store.hasBlob(digest))) missing.push(digest);
    }
    const found = `${root}: indexes: ${indexes.length}, ztocs: ${ztocs.length}`;
    if (missing.length === 0) return [{ check: CHECK, state: "ok", found }, await checkSpace(root)];
    const fix = `run \`soci index rm\` for the indexes that name ${missing.join(", ")}, then \`soci create\` again`;
    return [
      { check: CHECK, state: "fail", found: `${found}; ${missing.length} blobs are gone`, fix },
    ];
  } catch (error) {
    const { code, message } = AppError.from(error);
    const fix =
      code === "permission_denied"
        ? `run as the owner of ${root}, or give --root DIR with a directory of your own`
        : `move ${root} away and create the indexes again, or give another --root DIR`;
    return [{ check: CHECK, state: "fail", found: message, fix }];
  }
}

async function checkSpace(root: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(root);
  const freeBytes = bavail * bsize;
  const check = "free space";
  const found = `${formatBytes(freeBytes)} under ${root}`;
  if (freeBytes >= LOW_SPACE_BYTES) return { check, state: "ok", found };
  return { check, state: "warn", found, fix: "free some space, or give another --root DIR" };
}
