import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { formatPlatform, type Platform, parsePlatform } from "@soci-ts/oci";
import type { ImageSource } from "@soci-ts/soci";
import type { Session } from "../wire.ts";
import { type PlatformOptions, type PlatformReport, reportPlatforms } from "./platform-choice.ts";

const PLATFORMS = ["linux/amd64", "linux/arm64", "linux/s390x"];
const SESSION = { signal: new AbortController().signal } as Session;

async function work(platform: Platform | undefined): Promise<PlatformReport> {
  const name = platform === undefined ? "none" : formatPlatform(platform);
  if (name === "linux/arm64") throw new AppError("unavailable", "no answer");
  return { json: { name }, text: `did ${name}` };
}

function report(options: PlatformOptions): ReturnType<typeof reportPlatforms> {
  const source = {
    reference: "app",
    platforms: async () => PLATFORMS.map(parsePlatform),
  } as Partial<ImageSource> as ImageSource;
  return reportPlatforms(SESSION, { source, options, separator: "\n", work });
}

describe("reportPlatforms()", () => {
  it("reports one platform as itself", async () => {
    assert.deepEqual(await report({}), { json: { name: "none" }, text: "did none" });
    const one = await report({ platform: ["linux/amd64"] });
    assert.equal(one.text, "did linux/amd64");
    await assert.rejects(report({ platform: ["linux/arm64"] }), { code: "unavailable" });
    await assert.rejects(report({ platform: ["?", "?"] }), { code: "invalid_argument" });
  });

  it("reports several together, and what failed beside them", async () => {
    const all = await report({ allPlatforms: true, platform: ["linux/arm64"] });
    assert.deepEqual(all.json, {
      platforms: [
        { platform: "linux/amd64", name: "linux/amd64" },
        { platform: "linux/s390x", name: "linux/s390x" },
      ],
      failed: [{ platform: "linux/arm64", error: { code: "unavailable", message: "no answer" } }],
    });
    assert.equal(all.text, "did linux/amd64\ndid linux/s390x");
    assert.equal(all.failed, "unavailable");
    assert.deepEqual(all.errors?.map(String), ["AppError: linux/arm64: no answer"]);
    const two = await report({ platform: ["linux/amd64", "linux/s390x"] });
    assert.equal(two.failed, undefined);
  });
});
