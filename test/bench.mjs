// Runs every benchmark, one after the other: node test/bench.mjs [--only TEXT] [--big]
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { only: { type: "string" }, big: { type: "boolean" } } });
if (values.big) process.env.SOCI_BENCH_BIG = "1";
const folder = fileURLToPath(new URL("dist/bench/", import.meta.url));
let failed = 0;
for (const file of readdirSync(folder)
  .filter((name) => name.endsWith(".bench.js"))
  .sort()) {
  if (values.only !== undefined && !file.includes(values.only)) continue;
  console.log(`\n${file.replace(".bench.js", "")}`);
  failed +=
    spawnSync(process.execPath, ["--enable-source-maps", folder + file], { stdio: "inherit" })
      .status === 0
      ? 0
      : 1;
}
process.exit(failed === 0 ? 0 : 1);
