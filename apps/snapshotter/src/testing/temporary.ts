import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DisposeStack } from "@soci-ts/core";

/** A fresh directory that goes with the stack. */
export async function temporaryDirectory(stack: DisposeStack): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "soci-app-"));
  stack.defer(() => rm(path, { recursive: true, force: true }));
  return path;
}
