import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dataNodeId, imageNodeId, inodeNodeId, MAX_SLOTS, meaningOf } from "./node-ids.ts";

describe("meaningOf()", () => {
  it("takes apart what the others put together", () => {
    assert.deepEqual(meaningOf(1), { kind: "root" });
    for (const slot of [0, 1, 127, MAX_SLOTS - 1]) {
      assert.deepEqual(meaningOf(dataNodeId(slot)), { kind: "data", slot });
      assert.deepEqual(meaningOf(imageNodeId(slot)), { kind: "image", slot });
      for (const nid of [0, 1, 36, 2 ** 32 - 3]) {
        assert.deepEqual(meaningOf(inodeNodeId(slot, nid)), { kind: "inode", slot, nid });
        assert.ok(Number.isSafeInteger(inodeNodeId(slot, nid)));
      }
    }
  });

  it("is undefined for numbers that are no ids", () => {
    for (const id of [0, 2, 2 ** 32 - 1, dataNodeId(MAX_SLOTS), Number.MAX_SAFE_INTEGER]) {
      assert.equal(meaningOf(id), undefined);
    }
  });
});
