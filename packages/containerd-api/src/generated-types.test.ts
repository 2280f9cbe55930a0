import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { snapshotsService } from "./services.ts";

test("src/gen is what proto/ says", async () => {
  const script = fileURLToPath(new URL("../generate-types.mjs", import.meta.url));
  await assert.doesNotReject(promisify(execFile)(process.execPath, [script, "--check"]));
});

test("a Prepare of containerd is read as it was sent", () => {
  // Written by hand from the wire format: key, parent, labels {a: b, __proto__: x}, and a field 99 that nobody knows.
  const label = (key: string, value: string): Buffer =>
    field(4, Buffer.concat([field(1, Buffer.from(key)), field(2, Buffer.from(value))]));
  const bytes = Buffer.concat([
    field(2, Buffer.from("default/1/key")),
    field(3, Buffer.from("default/0/päre")),
    label("a", "b"),
    label("__proto__", "x"),
    Buffer.from([0x9a, 0x06, 0x01, 0x00]),
  ]);
  const request = snapshotsService().definition["Prepare"]!.requestDeserialize(bytes) as {
    key: string;
    parent: string;
    labels: Record<string, string>;
  };
  assert.equal(request.key, "default/1/key");
  assert.equal(request.parent, "default/0/päre");
  assert.deepEqual(Object.entries(request.labels), [
    ["a", "b"],
    ["__proto__", "x"],
  ]);
});

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
}
