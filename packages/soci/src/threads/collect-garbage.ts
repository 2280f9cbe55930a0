import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (options?: { readonly type: "minor" }) => void;

let collect: Collect | undefined;

/**
 * Collects this thread's garbage now: what was made lately (`young`, under a millisecond) or all. For memory outside of the heap, of which the engine
 * lets tens of megabytes come together because next to nothing lies in the heap.
 */
export function collectGarbage(which: "young" | "all"): void {
  collect ??= exposedCollect();
  if (which === "all") collect();
  else collect({ type: "minor" });
}

/** An engine that has no such function needs a little more memory. */
function exposedCollect(): Collect {
  setFlagsFromString("--expose-gc");
  return (runInNewContext("globalThis.gc") as Collect | undefined) ?? (() => {});
}
