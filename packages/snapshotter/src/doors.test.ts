import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ProbeFinding } from "@soci-ts/linux";
import { decideDoor, type TrialAnswer } from "./doors.ts";

type Support = "yes" | "unsafe" | "no";

const OK: ProbeFinding = { state: "ok", found: "it is there" };
const missing = (found: string): ProbeFinding => ({ state: "degraded", found, fix: "mend it" });

function kernel(support: Support, others: { ffi?: ProbeFinding; erofsOnLoop?: ProbeFinding } = {}) {
  const fileBacked = support === "yes" ? OK : missing(`files: ${support}`);
  return {
    ffi: OK,
    erofs: OK,
    erofsOnLoop: OK,
    ...others,
    erofsFileBacked: { ...fileBacked, support },
  };
}

/** Trials that work, but for the doors named. */
function trials(...failing: readonly string[]) {
  const tried: string[] = [];
  const tryDoor = async (door: string): Promise<TrialAnswer> => {
    tried.push(door);
    const works = !failing.includes(door);
    return { works, reason: `trial of ${door}${works ? "" : " failed"}` };
  };
  return { tried, tryDoor };
}

describe("decideDoor()", () => {
  it("takes the first door whose trial works", async () => {
    const { tried, tryDoor } = trials();
    const choice = await decideDoor("auto", kernel("yes"), tryDoor);
    assert.deepEqual(choice, { door: "erofs", reason: "trial of erofs" });
    assert.deepEqual(tried, ["erofs"]);
  });

  it("says why each earlier door was refused", async () => {
    const { tryDoor } = trials("erofs");
    assert.deepEqual(await decideDoor("auto", kernel("yes"), tryDoor), {
      door: "loop",
      reason: "not erofs: trial of erofs failed; trial of loop",
    });
    const both = trials("erofs", "loop");
    assert.deepEqual(await decideDoor("auto", kernel("yes"), both.tryDoor), {
      door: "fuse",
      reason: "not erofs: trial of erofs failed; not loop: trial of loop failed",
    });
  });

  it("tries nothing that the kernel is known not to do, or not to do right", async () => {
    const { tried, tryDoor } = trials();
    const unsafe = await decideDoor("auto", kernel("unsafe"), tryDoor);
    assert.deepEqual(
      [unsafe.door, unsafe.reason],
      ["loop", "not erofs: files: unsafe; trial of loop"],
    );
    assert.equal((await decideDoor("auto", kernel("no"), tryDoor)).door, "loop");
    assert.deepEqual(tried, ["loop", "loop"]);
    const old = kernel("no", { erofsOnLoop: missing("no loop") });
    const { door, reason } = await decideDoor("auto", old, tryDoor);
    assert.equal(door, "fuse");
    assert.match(reason, /files: no \(mend it\).*no loop \(mend it\)/);
  });

  it("needs no FFI for loop devices", async () => {
    const { tryDoor } = trials();
    const { door } = await decideDoor("auto", kernel("yes", { ffi: missing("no FFI") }), tryDoor);
    assert.equal(door, "loop");
  });

  it("takes a door that was asked for without a trial, also one that is not known to be safe", async () => {
    const { tried, tryDoor } = trials("erofs", "loop");
    for (const door of ["erofs", "loop", "fuse"] as const) {
      assert.equal((await decideDoor(door, kernel("unsafe"), tryDoor)).door, door);
    }
    assert.deepEqual(tried, []);
  });

  it("refuses a door that can't be had", async () => {
    const { tryDoor } = trials();
    await assert.rejects(decideDoor("erofs", kernel("no"), tryDoor), {
      code: "failed_precondition",
      message: /door erofs: files: no; mend it/,
    });
    const none = kernel("yes", { erofsOnLoop: missing("no loop") });
    await assert.rejects(decideDoor("loop", none, tryDoor), { code: "failed_precondition" });
  });
});
