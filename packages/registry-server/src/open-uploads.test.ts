import assert from "node:assert/strict";
import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { CROWDED_IDLE_LIMIT_MS } from "./limits.ts";
import { SpecError } from "./spec-error.ts";
import { filesIn, freshFolder, pieces } from "./testing/harness.ts";
import { Uploads } from "./uploads.ts";

describe("Uploads, when many are open", () => {
  const bytes = Buffer.from("some bytes");
  const isTooMany = (error: unknown): boolean => {
    assert.ok(error instanceof SpecError);
    assert.equal(error.specCode, "TOOMANYREQUESTS");
    assert.equal(error.status, 429);
    assert.match(error.headers["Retry-After"] ?? "", /^\d+$/);
    return true;
  };

  it("refuses one too many and writes nothing for it, until another one has ended", async () => {
    await using folder = await freshFolder();
    const uploads = await Uploads.open(folder.path, 3);
    const [first, second, third] = await Promise.all([
      uploads.create("r", "sha256"),
      uploads.create("r", "sha256"),
      uploads.create("", "sha256"),
    ]);
    await assert.rejects(uploads.create("r", "sha256"), isTooMany);
    assert.equal((await filesIn(folder.path)).length, 3);
    await uploads.cancel(first);
    await uploads.create("r", "sha256");
    await assert.rejects(uploads.create("r", "sha256"), isTooMany);
    await uploads.seal(second, sha256(bytes), { body: pieces(bytes) }, () => {});
    await uploads.create("r", "sha256");
    const other = sha256(Buffer.from("other"));
    await assert.rejects(
      uploads.seal(third, other, { body: pieces(bytes) }, () => {}),
      SpecError,
    );
    await uploads.create("r", "sha256");
    await assert.rejects(uploads.create("r", "sha256"), isTooMany);
  });

  it("holds to its bound however many begin at the same time", async () => {
    await using folder = await freshFolder();
    const uploads = await Uploads.open(folder.path, 10);
    const begun = await Promise.allSettled(
      Array.from({ length: 100 }, () => uploads.create("r", "sha256")),
    );
    assert.equal(begun.filter(({ status }) => status === "fulfilled").length, 10);
    assert.equal((await filesIn(folder.path)).length, 10);
  });

  it("counts those of before a restart", async () => {
    await using folder = await freshFolder();
    await (await Uploads.open(folder.path, 2)).create("r", "sha256");
    const restarted = await Uploads.open(folder.path, 2);
    await restarted.create("r", "sha256");
    await assert.rejects(restarted.create("r", "sha256"), isTooMany);
  });

  it("gives up idle ones to make room, and only those", async () => {
    await using folder = await freshFolder();
    const uploads = await Uploads.open(folder.path, 2);
    const idle = await uploads.create("r", "sha256");
    const fresh = await uploads.create("r", "sha256");
    const [file] = (await filesIn(folder.path)).filter((path) => path.startsWith(idle.id));
    const then = (Date.now() - CROWDED_IDLE_LIMIT_MS - 1000) / 1000;
    await utimes(join(folder.path, file ?? ""), then, then);
    await uploads.create("r", "sha256");
    assert.equal(await uploads.offset(fresh), 0);
    await assert.rejects(uploads.offset(idle), SpecError);
  });
});
