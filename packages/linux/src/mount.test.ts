import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { errnoName } from "./errno.ts";
import { mount } from "./mount.ts";
import { mountFlagBits } from "./mount-flags.ts";
import { toolError } from "./run-tool.ts";

describe("mount()", () => {
  it("refuses options that do not fit one page", async () => {
    const request = { source: "x", target: "/nowhere", type: "overlay", data: "a".repeat(4096) };
    await assert.rejects(mount(request), { code: "resource_exhausted" });
  });
});

describe("mountFlagBits()", () => {
  it("is the union, a flag named twice counting once", () => {
    assert.equal(mountFlagBits(["ro", "nosuid", "ro"]), 3);
    assert.equal(mountFlagBits([]), 0);
  });
});

describe("toolError()", () => {
  const rows: readonly [string, string, string][] = [
    ["umount: /x: target is busy.", "EBUSY", "failed_precondition"],
    ["umount: /x: not mounted.", "EINVAL", "failed_precondition"],
    ["mount: /x: unknown filesystem type 'erofs'.", "ENODEV", "unimplemented"],
    ["mount: /x: must be superuser to use mount.", "EPERM", "permission_denied"],
    ["mount: /x: mount point does not exist.", "ENOENT", "not_found"],
    ["something new", "EINVAL", "failed_precondition"],
  ];
  for (const [complaint, errno, code] of rows) {
    it(`reads ${errno} from "${complaint}"`, () => {
      const error = toolError("mount x", complaint);
      assert.ok(error instanceof AppError);
      assert.equal(error.details["errno"], errno);
      assert.equal(error.code, code);
    });
  }
});

describe("errnoName()", () => {
  it("names what it knows and numbers what it does not", () => {
    assert.equal(errnoName(16), "EBUSY");
    assert.equal(errnoName(99_999), "errno 99999");
  });
});
