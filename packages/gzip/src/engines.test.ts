import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { availableEngines, createEngine } from "./engines.ts";

/** Runs `availableEngines()` and a scan in a process where the FFI package can't be loaded. */
const WITHOUT_FFI = `
import Module from "node:module";
const load = Module._load;
Module._load = (id, ...rest) => {
  if (id === "koffi") throw new Error("not installed");
  return load(id, ...rest);
};
const { availableEngines, createGzipScan } = await import(process.argv[1]);
const options = { spanSizeBytes: 1000, onOutput: () => {} };
let code;
try {
  createGzipScan({ ...options, engine: "zlib" });
} catch (error) {
  code = error.code;
}
console.log(JSON.stringify([availableEngines(), createGzipScan(options).engine, code]));
`;

describe("availableEngines()", () => {
  it("names the default engine first, and pako always", () => {
    const engines = availableEngines();
    assert.ok(engines.includes("pako"));
    using engine = createEngine(undefined, new Uint8Array(65536));
    assert.equal(engine.name, engines[0]);
  });

  it("leaves pako where FFI does not work", () => {
    const entry = new URL("./index.js", import.meta.url).href;
    const child = spawnSync(
      process.execPath,
      ["--input-type=module", "--eval", WITHOUT_FFI, "--", entry],
      { encoding: "utf8", timeout: 20000 },
    );
    assert.equal(child.status, 0, child.stderr);
    assert.deepEqual(JSON.parse(child.stdout), [["pako"], "pako", "failed_precondition"]);
  });
});
