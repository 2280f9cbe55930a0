import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "@soci-ts/core";
import { parseImageConfig } from "./image-config.ts";

const DIGEST = `sha256:${"b".repeat(64)}`;
const CONFIG = {
  architecture: "arm64",
  os: "linux",
  variant: "v8",
  config: { Env: ["A=b"] },
  rootfs: { type: "layers", diff_ids: [DIGEST, DIGEST] },
};
const parse = (value: unknown): ReturnType<typeof parseImageConfig> =>
  parseImageConfig(Buffer.from(JSON.stringify(value)));

test("parseImageConfig() gives platform, diff ids and the document", () => {
  const config = parse(CONFIG);
  assert.deepEqual(config.platform, { architecture: "arm64", os: "linux", variant: "v8" });
  assert.deepEqual(config.diffIds, [DIGEST, DIGEST]);
  assert.deepEqual(config.raw["config"], { Env: ["A=b"] });
});

test("parseImageConfig() reads an image with no layers", () => {
  assert.deepEqual(parse({ ...CONFIG, rootfs: { type: "layers", diff_ids: null } }).diffIds, []);
});

const REFUSED: readonly [name: string, value: unknown, want: RegExp][] = [
  ["an artifact's empty config", {}, /no "rootfs"/],
  [
    "another kind of root",
    { ...CONFIG, rootfs: { type: "base" } },
    /\$\.rootfs\.type is another kind/,
  ],
  [
    "a bad diff id",
    { ...CONFIG, rootfs: { type: "layers", diff_ids: ["x"] } },
    /diff_ids\[0\] is "x"/,
  ],
  ["no architecture", { ...CONFIG, architecture: undefined }, /no "architecture"/],
];

for (const [name, value, want] of REFUSED) {
  test(`parseImageConfig() refuses ${name}`, () => {
    assert.throws(
      () => parse(value),
      (error) => error instanceof FormatError && want.test(error.message),
    );
  });
}

test("parseImageConfig() refuses every truncation", () => {
  const bytes = Buffer.from(JSON.stringify(CONFIG));
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => parseImageConfig(bytes.subarray(0, length)), FormatError);
  }
});
