import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, type Digest } from "@soci-ts/core";
import { resolveDigest } from "./resolve-digest.ts";

const ONE = `sha256:aa11${"0".repeat(60)}` as Digest;
const TWO = `sha256:aa22${"0".repeat(60)}` as Digest;

describe("resolveDigest()", () => {
  it("takes a digest or an unambiguous beginning of one", () => {
    for (const text of [ONE, "sha256:aa1", "aa11"]) {
      assert.equal(resolveDigest("index", text, [ONE, TWO, ONE]), ONE);
    }
  });

  it("refuses what is absent or ambiguous", () => {
    const cases: readonly [string, string][] = [
      ["ff", "not_found"],
      ["", "not_found"],
      ["aa", "invalid_argument"],
      ["sha256:", "invalid_argument"],
    ];
    for (const [text, code] of cases) {
      assert.throws(
        () => resolveDigest("ztoc", text, [ONE, TWO]),
        (error) => error instanceof AppError && error.code === code,
        text,
      );
    }
  });
});
