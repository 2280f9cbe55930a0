import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { delay, silentLogger } from "@soci-ts/core";
import { FilePages } from "./file-pages.ts";

const MIB = 2 ** 20;

describe("FilePages", () => {
  it("gives pages back after some bytes, one round at a time", async () => {
    let rounds = 0;
    let finish = (_: boolean): void => {};
    const drop = (fd: number): Promise<boolean> => {
      assert.equal(fd, 7);
      rounds += 1;
      return new Promise((resolve) => {
        finish = resolve;
      });
    };
    const pages = new FilePages(7, { logger: silentLogger, drop });
    for (let read = 0; read < 15; read += 1) pages.touched(MIB);
    assert.equal(rounds, 0);
    for (let read = 0; read < 40; read += 1) pages.touched(MIB);
    assert.equal(rounds, 1, "the first is not over");
    finish(true);
    await delay(1);
    pages.touched(MIB);
    assert.equal(rounds, 2);
    finish(false);
    await pages.close();
    pages.touched(64 * MIB);
    assert.equal(rounds, 2, "it is closed");
  });

  it("comes twice when it is quiet, since what was dirty goes the second time", async () => {
    let rounds = 0;
    const drop = async (): Promise<boolean> => {
      rounds += 1;
      return true;
    };
    const pages = new FilePages(7, { logger: silentLogger, drop, quietMs: 5 });
    pages.touched(1);
    for (let turn = 0; rounds < 2 && turn < 200; turn += 1) await delay(5);
    await delay(30);
    assert.equal(rounds, 2);
    await pages.close();
  });

  it("does not try again where it can't be done", async () => {
    const answers = [async () => false, async () => Promise.reject(new Error("no thread"))];
    for (const answer of answers) {
      let rounds = 0;
      const drop = (): Promise<boolean> => {
        rounds += 1;
        return answer();
      };
      const pages = new FilePages(7, { logger: silentLogger, drop });
      pages.touched(16 * MIB);
      await delay(1);
      pages.touched(16 * MIB);
      assert.equal(rounds, 1);
      await pages.close();
    }
  });
});
