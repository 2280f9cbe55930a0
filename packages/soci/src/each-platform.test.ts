import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { formatPlatform, parsePlatform } from "@soci-ts/oci";
import { createIndex } from "./create-index.ts";
import { eachPlatform } from "./each-platform.ts";
import type { ImageSource } from "./image-source.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { failure, openBench, twoLayerLayout } from "./testing/fixtures.ts";

/** An image for amd64, one for arm64 whose manifest is not there, one of a variant, and an attestation. */
async function manyPlatforms(directory: string): Promise<ImageSource> {
  const image = await twoLayerLayout(directory);
  const platform = parsePlatform;
  const lost = `sha256:${"0".repeat(64)}`;
  const manifests = [
    { ...image.manifest, platform: platform("linux/amd64") },
    { ...image.manifest, digest: lost, platform: platform("linux/arm64") },
    { ...image.manifest, platform: platform("linux/arm/v6") },
    { ...image.manifest, platform: { os: "unknown", architecture: "unknown" } },
    { ...image.manifest, platform: platform("linux/amd64") },
  ];
  await writeFile(join(directory, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
  return ociLayoutImageSource(directory);
}

describe("eachPlatform()", () => {
  it("goes through all platforms of an image, and through failures", async () => {
    await using bench = await openBench();
    const source = await manyPlatforms(bench.directory);
    const outcomes = await eachPlatform(source, "all", {
      work: (platform) =>
        createIndex({ source, platform, store: bench.store, minLayerSizeBytes: 0 }),
    });
    const told = outcomes.map((outcome) => [
      formatPlatform(outcome.platform),
      outcome.kind === "done" ? "done" : outcome.error.code,
    ]);
    assert.deepEqual(told, [
      ["linux/amd64", "done"],
      ["linux/arm64", "not_found"],
      ["linux/arm/v6", "done"],
    ]);
    assert.ok(bench.store.listIndexes().length > 0);
  });

  it("does each of the given platforms once", async () => {
    await using bench = await openBench();
    const source = await manyPlatforms(bench.directory);
    const wanted = ["linux/x86_64", "linux/amd64", "linux/arm64"].map(parsePlatform);
    const seen: string[] = [];
    await eachPlatform(source, wanted, {
      work: async (platform) => seen.push(formatPlatform(platform)),
    });
    assert.deepEqual(seen, ["linux/amd64", "linux/arm64"]);
  });

  it("stops when it is aborted, and when there is no image", async () => {
    await using bench = await openBench();
    const source = await manyPlatforms(bench.directory);
    const abort = new AbortController();
    const work = async (): Promise<void> => {
      abort.abort(new AppError("cancelled", "stopped"));
      throw new AppError("unavailable", "because of that");
    };
    const stopped = eachPlatform(source, "all", { work, signal: abort.signal });
    await assert.rejects(stopped, failure("cancelled", /stopped/));
    await writeFile(join(bench.directory, "index.json"), '{"schemaVersion":2,"manifests":[]}');
    await assert.rejects(eachPlatform(source, "all", { work }), failure("not_found", /no tags/));
  });
});
