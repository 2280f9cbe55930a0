// The thread that watches another one, see hang-watch.ts.
import { mkdirSync, writeFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { HANG_WATCH_HEAD_BYTES, type HangWatchTask } from "./hang-watch.ts";

const { shared, mostMs, path } = workerData as HangWatchTask;
const words = new Int32Array(shared, 0, 2);

parentPort?.postMessage("watching");
for (;;) {
  const seen = Atomics.load(words, 0);
  // Nobody notifies: this is a sleep.
  Atomics.wait(words, 0, seen, mostMs);
  if (Atomics.load(words, 0) === seen) break;
}
mkdirSync(dirname(path), { recursive: true });
writeFileSync(path, new Uint8Array(shared, HANG_WATCH_HEAD_BYTES, Atomics.load(words, 1)).slice());
writeSync(2, `an input took more than ${mostMs} ms and is kept as ${path}\n`);
process.kill(process.pid, "SIGKILL");
