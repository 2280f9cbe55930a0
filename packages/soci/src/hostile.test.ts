import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { testHostileReaders } from "@soci-ts/testkit";
import { parseSociIndex } from "./soci-index.ts";

const TESTDATA = new URL("../testdata/", import.meta.url);
const JSON_TOKENS = ["null", "-1", "1e400", "[]", "{}", '""', "[[[[", ",", "\0", "sha512:"];

/** An index that the reference tool wrote. */
const GOLDEN = readFileSync(new URL("golden/three-layers/soci-index.json", TESTDATA));

/** What is accepted names its layers by digests. */
function readIndex(bytes: Uint8Array): void {
  const { ztocs, version } = parseSociIndex(bytes);
  assert.ok(version === 1 || version === 2);
  for (const { layerDigest, spanSizeBytes = 0 } of ztocs) {
    assert.match(layerDigest, /^sha(256|512):[0-9a-f]+$/);
    assert.ok(Number.isSafeInteger(spanSizeBytes) && spanSizeBytes >= 0);
  }
}

testHostileReaders(TESTDATA, [
  { name: "soci-index", seeds: [GOLDEN], tokens: JSON_TOKENS, read: readIndex },
]);
