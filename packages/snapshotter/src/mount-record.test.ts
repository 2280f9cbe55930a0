import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError, sha256 } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { encodeMountRecord, type MountRecord, parseMountRecord } from "./mount-record.ts";
import { ownIdentity } from "./process-identity.ts";

const digest = sha256(Buffer.from("x"));
const record: MountRecord = {
  formatVersion: 1,
  id: "0123abcd",
  phase: "mounted",
  target: "/mnt/a b",
  reference: "example.org/a:b",
  manifestDigest: digest,
  door: "erofs",
  createdAt: "2026-01-01T00:00:00.000Z",
  runtimeDirectory: "/run/soci-ts/0123abcd",
  layersDirectory: "/var/lib/soci-ts/layers",
  parent: ownIdentity(),
  server: ownIdentity(),
  source: { image: "example.org/a:b" },
  slots: [
    {
      layerDigest: digest,
      data: {
        kind: "lazy",
        mediaType: "m",
        sizeBytes: 1,
        indexPath: "index-0",
        indexDigest: digest,
        headersPath: "headers-0",
        headersDigest: digest,
      },
      imagePath: "/var/lib/soci-ts/images/v1/x.erofs",
      deviceSlots: [0],
    },
  ],
  stack: [0],
};

describe("parseMountRecord()", () => {
  it("reads what encodeMountRecord() writes", () => {
    assert.deepEqual(parseMountRecord(encodeMountRecord(record)), record);
  });

  const bad: readonly [string, object][] = [
    ["a newer version", { formatVersion: 2 }],
    ["an id that is a path", { id: "../../etc" }],
    ["a relative target", { target: "mnt" }],
    ["a target that climbs", { target: "/mnt/../etc" }],
    ["a runtime directory of another mount", { runtimeDirectory: "/run/soci-ts/other" }],
    ["a runtime directory that is the root", { runtimeDirectory: "/" }],
    ["no process", { parent: undefined }],
    ["process 1", { server: { ...ownIdentity(), pid: 1 } }],
    ["a process group", { server: { ...ownIdentity(), pid: -5 } }],
    ["an unknown phase", { phase: "half" }],
    ["an unknown door", { door: "window" }],
    ["a slot without a digest", { slots: [{ ...record.slots[0], layerDigest: "md5:1" }] }],
    ["a stack of slots that are not there", { stack: [1] }],
  ];
  for (const [what, change] of bad) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseMountRecord(JSON.stringify({ ...record, ...change })), FormatError);
    });
  }

  it("throws nothing but FormatError when cut or altered anywhere", () => {
    const text = encodeMountRecord(record);
    const attempt = (altered: string): void => {
      try {
        parseMountRecord(altered);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
      }
    };
    for (let length = 0; length < text.length - 1; length += 1) {
      assert.throws(() => parseMountRecord(text.slice(0, length)), FormatError);
    }
    for (const value of ["null", "[]", "1", '""', "{}"]) {
      assert.throws(() => parseMountRecord(value), FormatError);
    }
    const random = seededRandom(5);
    for (let turn = 0; turn < 5000; turn += 1) {
      const at = Math.floor(random() * text.length);
      const char = String.fromCharCode(32 + Math.floor(random() * 95));
      attempt(text.slice(0, at) + char + text.slice(at + 1));
    }
    for (const key of Object.keys(record)) {
      for (const value of [null, 0, "", [], {}, true, "x"]) {
        attempt(JSON.stringify({ ...record, [key]: value }));
      }
    }
  });
});
