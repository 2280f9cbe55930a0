import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { findMount, parseMountTable, readMountTable } from "./mount-table.ts";

describe("parseMountTable()", () => {
  it("reads the example of proc(5), optional fields and all", () => {
    const line =
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
    assert.deepEqual(parseMountTable(`${line}\n`), [
      {
        mountId: 36,
        parentId: 35,
        device: "98:0",
        root: "/mnt1",
        mountPoint: "/mnt2",
        mountOptions: "rw,noatime",
        type: "ext3",
        source: "/dev/root",
        superOptions: "rw,errors=continue",
      },
    ]);
  });

  it("reads a line with no optional field and decodes escapes", () => {
    const [info] = parseMountTable("9 1 0:44 / /a\\040b\\134c\\011 ro - fuse so\\040ci ro");
    assert.equal(info?.mountPoint, "/a b\\c\t");
    assert.equal(info?.source, "so ci");
  });

  it("leaves out what is not a mountinfo line", () => {
    assert.deepEqual(parseMountTable("\nnonsense\n1 2 3:4 / /x rw\n1 2 3:4 / /x rw - \n"), []);
  });
});

describe("readMountTable()", () => {
  it("has the root and /proc", () => {
    const points = readMountTable().map((info) => info.mountPoint);
    assert.ok(points.includes("/"));
    assert.equal(findMount("/proc")?.type, "proc");
    assert.equal(findMount("/no/such/mount"), undefined);
  });
});
