import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { ffiAvailable } from "./ffi.ts";

/** Scheduling policy and nice value, proc_pid_stat(5), fields 41 and 19. */
interface Scheduling {
  readonly policy: number;
  readonly nice: number;
}

const USUAL: Scheduling = { policy: 0, nice: 0 };

/** A thread that calls a function of the module, and says how it is scheduled then, and how the one that started it is. */
async function threadThatCalls(name: string): Promise<readonly Scheduling[]> {
  const program = `
    const { readFileSync } = require("node:fs");
    const { parentPort } = require("node:worker_threads");
    const look = (path) => {
      const fields = readFileSync(path, "utf8").split(") ")[1].split(" ");
      return { policy: Number(fields[38]), nice: Number(fields[16]) };
    };
    import(${JSON.stringify(new URL("./thread-priority.js", import.meta.url).href)}).then((module) => {
      module.${name}();
      parentPort.postMessage([look("/proc/thread-self/stat"), look("/proc/self/stat")]);
    });`;
  const worker = new Worker(program, { eval: true });
  try {
    return await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  } finally {
    await worker.terminate();
  }
}

describe("thread priorities", () => {
  it("runWhenIdle() has the calling thread yield to all others, and no other thread", async () => {
    const [its, ours] = await threadThatCalls("runWhenIdle");
    assert.deepEqual(its, ffiAvailable() ? { policy: 5, nice: 0 } : { policy: 0, nice: 19 });
    assert.deepEqual(ours, USUAL);
  });

  const skip = process.getuid?.() === 0 ? false : "run as root: it takes CAP_SYS_NICE";
  it("runAtOnce() has it go before all others", { skip }, async () => {
    const [its, ours] = await threadThatCalls("runAtOnce");
    if (ffiAvailable()) assert.equal(its?.policy, 2);
    else assert.deepEqual(its, { policy: 0, nice: -10 });
    assert.deepEqual(ours, USUAL);
  });
});
