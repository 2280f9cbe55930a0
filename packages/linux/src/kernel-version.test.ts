import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { erofsFileBackedSupport, parseKernelVersion } from "./kernel-version.ts";

describe("parseKernelVersion()", () => {
  it("reads the numbers and ignores what follows", () => {
    assert.deepEqual(parseKernelVersion("6.1.0-18-amd64"), { major: 6, minor: 1, patch: 0 });
    assert.deepEqual(parseKernelVersion("7.0-rc3"), { major: 7, minor: 0, patch: 0 });
    assert.equal(parseKernelVersion("linux"), undefined);
  });
});

describe("erofsFileBackedSupport()", () => {
  const rows: readonly [string, string][] = [
    ["5.15.0", "no"],
    ["6.1.0-18-amd64", "no"],
    ["6.11.9", "no"],
    ["6.12.0", "unsafe"],
    ["6.12.99", "unsafe"],
    ["6.18.43", "unsafe"],
    ["6.18.44-cloud", "yes"],
    ["6.18.60", "yes"],
    ["6.19.5", "unsafe"],
    ["7.0-rc5", "unsafe"],
    ["7.0.0-rc6", "yes"],
    ["7.0.1", "yes"],
    ["8.2.0", "yes"],
    ["not a kernel", "no"],
  ];
  for (const [release, want] of rows) {
    it(`is ${want} for ${release}`, () => assert.equal(erofsFileBackedSupport(release), want));
  }
});
