import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pushLayout, seededRandom, startEmbeddedRegistry } from "@soci-ts/testkit";
import { documentOf, type RunResult, soci, temporaryDirectory } from "./testing/command-line.ts";
import { largeImage } from "./testing/images.ts";

const KILLS = 6;
const IMAGE_BYTES = 32_000_000;

async function timed(
  run: () => Promise<RunResult>,
): Promise<{ result: RunResult; tookMs: number }> {
  const start = performance.now();
  const result = await run();
  return { result, tookMs: performance.now() - start };
}

/** No blob is there that no index names, once the index is removed: nothing was left that will never go. */
async function assertNoTemporaryFiles(root: string): Promise<void> {
  const names = await readdir(root, { recursive: true });
  const left = names.filter((name) => /tmp|\.new$|partial/.test(name) && !/(^|\/)tmp$/.test(name));
  assert.deepEqual(left, []);
}

describe("a soci command that is interrupted", () => {
  it("stops on SIGINT with exit code 130 and leaves a store without the index", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const image = await largeImage(folder.path, IMAGE_BYTES);
    const args = ["--root", root, "create", `oci:${image.directory}`, "--min-layer-size", "0"];
    const { tookMs } = await timed(() => soci([...args, "--span-size", "131072"]));
    const result = await soci(args, { signal: { name: "SIGINT", afterMs: tookMs / 2 } });
    assert.equal(result.exitCode, 130, result.stderr);
    assert.match(result.stderr, /soci: cancelled: Interrupted/);
    const listed = documentOf(await soci(["--root", root, "--json", "index", "ls"]));
    assert.equal((listed as unknown as unknown[]).length, 1);
    await assertNoTemporaryFiles(root);
  });

  it("may be killed at any point of create and push: the next one just works", async () => {
    await using folder = await temporaryDirectory();
    await using registry = await startEmbeddedRegistry();
    const image = await largeImage(folder.path, IMAGE_BYTES);
    await pushLayout(image, registry.host, "app", "v1");
    const name = `${registry.host}/app:v1`;
    const args = ["--json", "create", "--push", "--min-layer-size", "0", name];
    const reference = await timed(() => soci(["--root", join(folder.path, "first"), ...args]));
    const expected = documentOf(reference.result)["index"];
    const root = join(folder.path, "killed");
    const next = seededRandom(Date.now() % 100_000);
    let killed = 0;
    for (let round = 0; round < KILLS; round += 1) {
      const afterMs = next() * reference.tookMs;
      const result = await soci(["--root", root, ...args], {
        signal: { name: "SIGKILL", afterMs },
      });
      if (result.killedBy !== null) killed += 1;
      const listed = await soci(["--root", root, "--json", "index", "ls"]);
      assert.equal(listed.exitCode, 0, `after ${afterMs} ms: ${listed.stderr}`);
    }
    assert.ok(killed > 0);
    const last = await soci(["--root", root, ...args]);
    assert.equal(last.exitCode, 0, last.stderr);
    assert.equal(documentOf(last)["index"], expected);
    const doctor = documentOf(await soci(["--root", root, "--json", "doctor", name]));
    const findings = doctor["findings"] as { check: string; state: string }[];
    assert.equal(findings.find(({ check }) => check === "local store")?.state, "ok");
    await assertNoTemporaryFiles(root);
  });
});
