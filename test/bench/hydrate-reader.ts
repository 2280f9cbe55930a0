// Run by hydrate.bench.ts as a process of its own, because who serves a mount must not read from it: reads present bytes of a file past the page cache for some
// time, 4 KiB and 128 KiB in turn, and prints how long each read took.
import { closeSync, constants, openSync, readSync } from "node:fs";

const [, , path = "", sizeBytes = "0", milliseconds = "0"] = process.argv;
const SIZES = [4096, 131_072];
/** A program computes between its reads. */
const PAUSE_MS = 2;

const file = openSync(path, constants.O_RDONLY + constants.O_DIRECT);
const taken: number[][] = SIZES.map(() => []);
const memory = new Uint8Array(131_072);
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const end = performance.now() + Number(milliseconds);
for (let turn = 0; performance.now() < end; turn += 1) {
  const size = SIZES[turn % SIZES.length] ?? 0;
  const blocks = Math.floor(Number(sizeBytes) / 131_072);
  const position = ((turn * 7919) % blocks) * 131_072;
  const started = performance.now();
  readSync(file, memory, 0, size, position);
  taken[turn % SIZES.length]?.push(performance.now() - started);
  Atomics.wait(sleeper, 0, 0, PAUSE_MS);
}
closeSync(file);
console.log(JSON.stringify(taken));
