import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import {
  identifyProcess,
  ownerName,
  ownerState,
  ownIdentity,
  processState,
} from "./process-identity.ts";

describe("processState()", () => {
  const self = identifyProcess(process.pid)!;

  it("is alive for this process", () => assert.equal(processState(self), "alive"));

  it("is gone for a process that ended, another start and another boot", () => {
    const { pid } = spawnSync("true");
    assert.equal(identifyProcess(pid), undefined);
    assert.equal(processState({ ...self, startTicks: "1" }), "gone");
    assert.equal(processState({ ...self, bootId: "another" }), "gone");
  });

  it("is unknown in another PID namespace", () => {
    assert.equal(processState({ ...self, pidNamespace: "pid:[1]" }), "unknown");
  });
});

describe("ownerState()", () => {
  it("judges the process that ownerName() named", () => {
    const self = ownIdentity();
    assert.equal(ownerState(ownerName(self)), "alive");
    assert.equal(ownerState(ownerName({ ...self, startTicks: "1" })), "gone");
    assert.equal(ownerState(ownerName({ ...self, pidNamespace: "pid:[1]" })), "unknown");
    assert.equal(ownerState("something else"), "unknown");
  });
});
