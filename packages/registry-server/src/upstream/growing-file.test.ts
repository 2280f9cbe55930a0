import assert from "node:assert/strict";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { seededBytes } from "@soci-ts/testkit";
import { freshFolder } from "../testing/harness.ts";
import { GrowingFile, type Reader } from "./growing-file.ts";

const BYTES = seededBytes(1000, 1);
const WHOLE = { start: 0, end: BYTES.length };

async function withFile(
  work: (file: GrowingFile, path: string, closed: () => number) => Promise<void>,
): Promise<void> {
  await using folder = await freshFolder();
  const path = join(folder.path, "file");
  let closed = 0;
  const file = new GrowingFile(await open(path, "wx+"), BYTES.length, () => {
    closed += 1;
  });
  await work(file, path, () => closed);
}

async function all({ pieces, cancel }: Reader): Promise<Buffer> {
  const found: Uint8Array[] = [];
  try {
    for await (const piece of pieces) found.push(piece);
  } finally {
    cancel();
  }
  return Buffer.concat(found);
}

describe("GrowingFile", () => {
  it("gives readers what is there, and the last byte of the whole only when it is verified", () =>
    withFile(async (file, _path, closed) => {
      const whole = all(file.reader(WHOLE)!);
      const tail = all(file.reader({ start: 500, end: 1000 })!);
      let isWholeDone = false;
      void whole.then(() => {
        isWholeDone = true;
      });
      await file.append(BYTES.subarray(0, 400));
      await file.append(BYTES.subarray(400));
      assert.deepEqual(await tail, Buffer.from(BYTES.subarray(500)));
      assert.equal(isWholeDone, false);
      await file.sync();
      file.settle("verified");
      assert.deepEqual(await whole, Buffer.from(BYTES));
      assert.equal(closed(), 1);
      assert.equal(file.reader(WHOLE), undefined);
    }));

  it("never lets bytes that came early replace those that its digest is of", () =>
    withFile(async (file, path) => {
      const wrong = Buffer.alloc(300, 0);
      const whole = all(file.reader(WHOLE)!);
      // All at once: they are written in this order, each after the other.
      await Promise.all([
        file.insert(wrong, 200),
        file.append(BYTES.subarray(0, 350)),
        file.insert(wrong, 100),
        file.insert(wrong, 300),
        file.append(BYTES.subarray(350, 1000)),
        file.insert(wrong, 600),
      ]);
      file.settle("verified");
      assert.deepEqual(await readFile(path), Buffer.from(BYTES));
      assert.deepEqual(await whole, Buffer.from(BYTES));
    }));

  it("lets readers of what fails fail, also those who wait, and gives new ones nothing", () =>
    withFile(async (file, _path, closed) => {
      const whole = all(file.reader(WHOLE)!);
      await file.append(BYTES);
      file.settle(new AppError("data_loss", "wrong"));
      await assert.rejects(whole, { code: "data_loss" });
      assert.equal(file.reader(WHOLE), undefined);
      assert.equal(closed(), 1);
    }));

  it("ends a reader that is cancelled while it waits, and stays open for others", () =>
    withFile(async (file, _path, closed) => {
      const leaver = file.reader(WHOLE)!;
      const left = all(leaver);
      const stayer = all(file.reader(WHOLE)!);
      leaver.cancel();
      leaver.cancel();
      await assert.rejects(left);
      await file.append(BYTES);
      file.settle("verified");
      assert.deepEqual(await stayer, Buffer.from(BYTES));
      assert.equal(closed(), 1);
    }));
});
