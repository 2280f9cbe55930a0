import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Digest,
  Digester,
  digestAlgorithm,
  digestHex,
  digestOf,
  isDigest,
  parseDigest,
  sha256,
  verifyDigest,
} from "./digest.ts";
import { AppError, DigestMismatchError } from "./errors.ts";

const EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

test("parseDigest() takes sha256 and sha512 in lower case", () => {
  assert.equal(parseDigest(EMPTY), EMPTY);
  const long = `sha512:${"a".repeat(128)}`;
  assert.equal(digestAlgorithm(parseDigest(long)), "sha512");
  assert.equal(digestHex(parseDigest(long)), "a".repeat(128));
});

const BAD = [
  "",
  "sha256",
  "sha256:",
  EMPTY.toUpperCase(),
  `${EMPTY}0`,
  EMPTY.slice(0, -1),
  `md5:${"a".repeat(32)}`,
  `${EMPTY}\n`,
  `../${EMPTY}`,
  "a".repeat(1e6),
];
for (const text of BAD) {
  test(`parseDigest() refuses ${JSON.stringify(text.slice(0, 40))} (${text.length} characters)`, () => {
    assert.equal(isDigest(text), false);
    assert.throws(
      () => parseDigest(text),
      (error) =>
        error instanceof AppError &&
        error.code === "invalid_argument" &&
        error.message.length < 400,
    );
  });
}

test("Digester gives the same digest as sha256() over the whole", () => {
  const bytes = Buffer.from("some bytes");
  const digester = new Digester();
  digester.update(bytes.subarray(0, 3));
  digester.update(bytes.subarray(3));
  assert.equal(digester.digest(), sha256(bytes));
  assert.equal(digestOf(bytes, "sha256"), sha256(bytes));
});

test("verifyDigest() throws when the bytes differ", () => {
  verifyDigest("blob", new Uint8Array(0), EMPTY as Digest);
  assert.throws(() => verifyDigest("blob", Buffer.from("x"), EMPTY as Digest), DigestMismatchError);
});
