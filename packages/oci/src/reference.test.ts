import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "@soci-ts/core";
import { mutate, seededRandom } from "@soci-ts/testkit";
import { formatReference, parseReference } from "./reference.ts";

const HEX = "0123456789abcdef".repeat(4);
const TOKENS = ["/", ":", "@", "..", "sha512:", "%", "[::1]", "\0"];

const GOOD: readonly [text: string, full: string][] = [
  ["ubuntu", "docker.io/library/ubuntu:latest"],
  ["ubuntu:22.04", "docker.io/library/ubuntu:22.04"],
  ["user/app", "docker.io/user/app:latest"],
  ["docker.io/ubuntu", "docker.io/library/ubuntu:latest"],
  ["index.docker.io/ubuntu", "docker.io/library/ubuntu:latest"],
  ["localhost/app", "localhost/app:latest"],
  ["localhost:5000/app:v1", "localhost:5000/app:v1"],
  ["127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"],
  ["[::1]:5000/app", "[::1]:5000/app:latest"],
  ["[2001:db8::1]/app:t", "[2001:db8::1]/app:t"],
  ["ghcr.io/o/app__x.y--z:T_1", "ghcr.io/o/app__x.y--z:T_1"],
  [`ubuntu@sha256:${HEX}`, `docker.io/library/ubuntu@sha256:${HEX}`],
  [`r.example/app:t@sha256:${HEX}`, `r.example/app:t@sha256:${HEX}`],
  [`r.example/app@sha512:${HEX}${HEX}`, `r.example/app@sha512:${HEX}${HEX}`],
  ["Registry/app", "Registry/app:latest"],
];

for (const [text, full] of GOOD) {
  test(`parseReference() reads ${text.slice(0, 40)}`, () => {
    assert.equal(formatReference(parseReference(text)), full);
    assert.equal(formatReference(parseReference(full)), full);
  });
}

const BAD: readonly [text: string, want: RegExp][] = [
  ["", /no repository/],
  ["localhost:5000/", /no repository/],
  ["https://r.example/app", /starts with https:\/\//],
  ["r.example/App", /capitals/],
  ["app/", /part ""/],
  ["a//b", /part ""/],
  ["r.example/../app", /part "\.\."/],
  ["r.example/a__.b", /part "a__\.b"/],
  ["app:", /its tag ""/],
  ["app:-x", /its tag "-x"/],
  [`app:${"t".repeat(129)}`, /its tag/],
  ["app@sha256:abc", /its digest "sha256:abc"/],
  ["app@md5:0123", /its digest/],
  ["r.example:0/app", /no host\[:port\]/],
  ["r.example:65536/app", /no host\[:port\]/],
  ["r_x.example/app", /no host\[:port\]/],
  ["-r.example/app", /no host\[:port\]/],
  ["[::1/app", /no host\[:port\]/],
  ["r.example/app?x=1", /part "app\?x=1"/],
  ["r.example/a pp", /part "a pp"/],
  [HEX, /64 hex digits/],
  [`r.example/${"a".repeat(256)}`, /256 characters long, want at most 255/],
  ["a".repeat(800), /800 characters long/],
];

for (const [text, want] of BAD) {
  test(`parseReference() refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
    assert.throws(() => parseReference(text), { code: "invalid_argument", message: want });
  });
}

test("parseReference() does not repeat a password", () => {
  for (const text of [
    "user:s3cret@r.example/app",
    "https://user:s3cret@r.example/app",
    "oauth2:s3cret@sub.example:5000/app:v1",
  ]) {
    assert.throws(
      () => parseReference(text),
      (error) => {
        assert.ok(error instanceof AppError);
        assert.doesNotMatch(error.message, /s3cret/);
        return true;
      },
    );
  }
});

test("parseReference() answers every mutation quickly, and what it accepts reads back the same", () => {
  const random = seededRandom(7);
  const whole = Buffer.from(`localhost:5000/a-b/c_d:v1@sha256:${HEX}`);
  for (let round = 0; round < 5000; round++) {
    const text = Buffer.from(mutate(whole, random, { tokens: TOKENS })).toString();
    try {
      const reference = parseReference(text);
      assert.deepEqual(parseReference(formatReference(reference)), reference);
    } catch (error) {
      assert.ok(error instanceof AppError && error.code === "invalid_argument", String(error));
    }
  }
});
