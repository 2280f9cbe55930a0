import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { RecentErrors } from "./recent-errors.ts";

describe("RecentErrors", () => {
  it("keeps warnings and errors with what they are about, the latest first", () => {
    const errors = new RecentErrors();
    const logger = errors.watch(silentLogger);
    logger.info("all is well", { layer: "sha256:a" });
    logger.warn("index refused", { image: "app:1", reason: "not bound", code: "denied" });
    logger.child({ layer: "sha256:a" }).error("read failed", { error: "registry gone" });
    const told = errors.list().map(({ message, about, code }) => ({ message, about, code }));
    assert.deepEqual(told, [
      { message: "read failed: registry gone", about: "sha256:a", code: "unknown" },
      { message: "index refused: not bound", about: "app:1", code: "denied" },
    ]);
    assert.equal(errors.about("sha256:a").length, 1);
    assert.equal(errors.about("sha256:b").length, 0);
  });

  it("counts the same one up, and forgets the oldest of more than a hundred", () => {
    const errors = new RecentErrors();
    const logger = errors.watch(silentLogger);
    for (let at = 0; at < 3; at += 1) logger.warn("mirror down", { registry: "a" });
    logger.warn("mirror down", { registry: "b" });
    assert.deepEqual(
      errors.list().map(({ times }) => times),
      [1, 3],
    );
    for (let at = 0; at < 100; at += 1) logger.warn("mirror down", { registry: `${at}` });
    assert.equal(errors.list().length, 100);
    assert.equal(errors.list().at(-1)?.about, "0");
  });
});
