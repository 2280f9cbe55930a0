import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { gzipSync } from "node:zlib";
import { AppError } from "@soci-ts/core";
import { buildTar, seededBytes, seededRandom } from "@soci-ts/testkit";
import { build, pieces } from "../testing/build.ts";
import type { LayerIndex } from "../types.ts";
import { decodeZtoc } from "../ztoc/decode.ts";
import { encodeZtoc } from "../ztoc/encode.ts";
import { verifyZtoc } from "./verify-ztoc.ts";

const RUNS = 800;

/** What a ztoc says of its layer; undefined if it can't be read. */
function meaning(ztoc: Uint8Array): LayerIndex | undefined {
  try {
    const { buildTool, ...index } = decodeZtoc(ztoc);
    return index;
  } catch (error) {
    assert.ok(error instanceof AppError, String(error));
    return undefined;
  }
}

/** True if all is as in `built`, or would have been built so with the span size that is said: that alone tells nothing apart. */
async function isTrue(
  said: LayerIndex | undefined,
  built: LayerIndex,
  blob: Uint8Array,
): Promise<boolean> {
  if (said === undefined) return false;
  const { spanSizeBytes } = said;
  if (!isDeepStrictEqual({ ...said, spanSizeBytes: 0 }, { ...built, spanSizeBytes: 0 }))
    return false;
  if (spanSizeBytes === built.spanSizeBytes) return true;
  const { index } = await build(blob, { spanSizeBytes });
  return isDeepStrictEqual(index, said);
}

describe("verifyZtoc() on altered ztocs", () => {
  it("notices every change that means something, and none that means nothing", async () => {
    const tar = await buildTar([
      { name: "bin/", type: "directory" },
      { name: "bin/tool", content: seededBytes(30_000, 4) },
      { name: `deep/${"long/".repeat(40)}name`, content: "text" },
      { name: "bin/link", type: "symlink", linkname: "tool" },
    ]);
    const blob = gzipSync(tar, { memLevel: 3 });
    const { index, layerDigest, diffId } = await build(blob, { spanSizeBytes: 12_000 });
    assert.ok(index && index.spans.length > 1);
    const ztoc = encodeZtoc(index);
    // Windows are nearly all of it; the changes go where everything else is, nearly always.
    const windows = index.spans.length * 32_768;
    const random = seededRandom(6);
    const pick = (limit: number): number => Math.floor(random() * limit);
    let harmless = 0;
    for (let run = 0; run < RUNS; run += 1) {
      const altered = Uint8Array.from(ztoc);
      const inWindows = run % 20 === 0;
      const at = inWindows ? pick(altered.length) : pick(altered.length - windows);
      const place = inWindows || at < 500 ? at : altered.length - (at - 500) - 1;
      altered[place] = (altered[place]! + 1 + pick(255)) % 256;
      const { difference } = await verifyZtoc(pieces(blob, 50_000), {
        ztoc: altered,
        compression: "gzip",
        layerDigest,
        diffId,
      }).catch((error: unknown) => {
        assert.equal(AppError.from(error).code, "resource_exhausted", String(error));
        return { difference: error };
      });
      const isSame = await isTrue(meaning(altered), index, blob);
      assert.equal(difference === undefined, isSame, `run ${run}, byte ${place}`);
      if (isSame) harmless += 1;
    }
    assert.ok(harmless > 0 && harmless < RUNS / 2, `${harmless} of ${RUNS} meant nothing`);
  });
});
