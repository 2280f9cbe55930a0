import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { soci, temporaryDirectory } from "./testing/command-line.ts";
import { sampleImage } from "./testing/images.ts";

/** Module by module, as it is before it is bundled: what is loaded on demand there is a file of its own in the bundle. */
const PROGRAM = fileURLToPath(new URL("./main.js", import.meta.url));
const RECORDER = new URL("./testing/record-modules.js", import.meta.url).href;

/** The packages that a run of the command loaded modules of: `core`, `cli`, `undici`; as many times as modules. */
async function packagesLoaded(folder: string, args: readonly string[]): Promise<string[]> {
  const file = join(folder, "modules");
  const env = { SOCI_TEST_MODULES: file, NODE_OPTIONS: `--import ${RECORDER}` };
  const result = await soci(["--root", join(folder, "store"), ...args], { env, program: PROGRAM });
  assert.equal(result.exitCode, 0, result.stderr);
  const urls = existsSync(file) ? (await readFile(file, "utf8")).trim().split("\n") : [];
  return urls.flatMap(
    (url) =>
      /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ??
      /\/(?:packages|apps)\/([^/]+)\//.exec(url)?.[1] ??
      [],
  );
}

describe("a soci command", () => {
  it("loads next to nothing for its help and for completion", async () => {
    for (const args of [["--help"], ["create", "--help"]]) {
      await using folder = await temporaryDirectory();
      const loaded = await packagesLoaded(folder.path, args);
      assert.deepEqual([...new Set(loaded)].sort(), ["cli", "commander", "core"]);
      assert.ok(loaded.length < 30, `${loaded.length} modules`);
    }
  });

  it("loads no registry client, mount or zstd code to index a local image", async () => {
    await using folder = await temporaryDirectory();
    const image = await sampleImage(folder.path);
    const name = `oci:${image.directory}`;
    const loaded = await packagesLoaded(folder.path, ["create", "--min-layer-size", "0", name]);
    const unwanted = ["undici", "smol-toml", "fzstd", "erofs", "lazy-layer", "snapshotter"];
    unwanted.push("linux", "fuse", "pino", "cli-progress");
    // Limits alone come of erofs.
    assert.ok(loaded.filter((it) => it === "erofs").length <= 1);
    assert.deepEqual(
      loaded.filter((it) => it !== "erofs" && unwanted.includes(it)),
      [],
    );
    // Its error class and what that needs.
    assert.ok(loaded.filter((it) => it === "registry-client").length <= 2);
    assert.ok(loaded.includes("layer-index"));
  });

  it("loads neither client nor codecs to list what the store has", async () => {
    await using folder = await temporaryDirectory();
    const loaded = await packagesLoaded(folder.path, ["index", "ls"]);
    const unwanted = ["undici", "registry-client", "gzip", "layer-index", "soci", "snapshotter"];
    assert.deepEqual(
      loaded.filter((it) => unwanted.includes(it)),
      [],
    );
    assert.ok(loaded.includes("store"));
  });
});
