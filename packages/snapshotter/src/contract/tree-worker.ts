import { parentPort } from "node:worker_threads";
import { removeTree, treeUsage } from "./tree.ts";
import type { Usage } from "./types.ts";

/** What a worker of `tree-workers.ts` is asked. */
export interface TreeTask {
  readonly id: number;
  readonly what: "usage" | "remove";
  readonly path: string;
}

/** What it answers: the usage (nothing was there: zeros), or why not. */
export interface TreeAnswer {
  readonly id: number;
  readonly usage?: Usage;
  readonly error?: { readonly message: string; readonly code: string | undefined };
}

parentPort?.on("message", (task: TreeTask) => {
  parentPort?.postMessage(answer(task));
});

function answer({ id, what, path }: TreeTask): TreeAnswer {
  try {
    if (what === "usage") return { id, usage: treeUsage(path) };
    removeTree(path);
    return { id };
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return { id, error: { message, code } };
  }
}
