import assert from "node:assert/strict";
import { rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { hashSync } from "bcryptjs";
import { freshFolder } from "../testing/harness.ts";
import { parseHtpasswd } from "./htpasswd.ts";
import { PasswordThread } from "./password-thread.ts";
import { Passwords } from "./passwords.ts";
import { RateLimiter } from "./rate-limiter.ts";
import { WatchedFile } from "./watched-file.ts";

const ANNA = hashSync("secret", 4);
const BOB = hashSync("other", 4);

/** A thread that counts, and answers when it is told to. */
function fakeThread() {
  const asked: string[] = [];
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const compare = async (password: string): Promise<boolean> => {
    asked.push(password);
    await gate;
    return password === "secret";
  };
  return { asked, release, thread: { compare } as unknown as PasswordThread };
}

function passwordsOf(thread: PasswordThread, failuresPerMinute = 1000): Passwords {
  const file = { value: new Map([["anna", ANNA]]) } as unknown as WatchedFile<Map<string, string>>;
  return new Passwords(file, thread, failuresPerMinute);
}

describe("parseHtpasswd()", () => {
  it("reads users, passes over comments, and takes the prefixes of bcrypt", () => {
    const users = parseHtpasswd(`# users\n\nanna:${ANNA}\r\nb@c.d:${BOB.replace("$2b", "$2y")}\n`);
    assert.deepEqual([...users.keys()], ["anna", "b@c.d"]);
  });

  it("names every faulty line, and shows none", () => {
    const text = `anna:{SHA}hunter2\nb\n:${ANNA}\nc:${ANNA.replace("$04", "$15")}\nd:${ANNA}`;
    assert.throws(
      () => parseHtpasswd(text),
      (error: Error) => {
        assert.match(
          error.message,
          /line 1 has no bcrypt.*line 2 is no.*line 3 is no.*line 4 has cost 15/,
        );
        assert.doesNotMatch(error.message, /hunter2|\$2/);
        return true;
      },
    );
  });
});

describe("Passwords", () => {
  it("checks with the real thread, remembers what was right, and forgets it with the hash", async () => {
    await using folder = await freshFolder();
    const path = join(folder.path, "htpasswd");
    writeFileSync(path, `anna:${ANNA}\nbob:${BOB}`);
    await using thread = new PasswordThread();
    const passwords = new Passwords(
      new WatchedFile(path, parseHtpasswd, silentLogger),
      thread,
      100,
    );
    assert.ok(await passwords.check("anna", "secret", "c"));
    assert.ok(await passwords.check("bob", "other", "c"));
    assert.ok(!(await passwords.check("anna", "other", "c")));
    assert.ok(!(await passwords.check("eve", "secret", "c")));
    assert.ok(!(await passwords.check("anna", "x".repeat(10_000), "c")));
    writeFileSync(path, `anna:${BOB}`);
    passwords.reload();
    assert.ok(!(await passwords.check("anna", "secret", "c")));
    assert.ok(await passwords.check("anna", "other", "c"));
    assert.ok(!passwords.has("bob"));
  });

  it("asks once for the same password at a time, and not again for a right one", async () => {
    const { asked, release, thread } = fakeThread();
    const passwords = passwordsOf(thread);
    const checks = Array.from({ length: 100 }, () => passwords.check("anna", "secret", "c"));
    release();
    assert.ok((await Promise.all(checks)).every(Boolean));
    assert.ok(await passwords.check("anna", "secret", "c"));
    assert.deepEqual(asked, ["secret"]);
  });

  it("compares for unknown users too, and never lets one in", async () => {
    const { asked, release, thread } = fakeThread();
    release();
    assert.equal(await passwordsOf(thread).check("eve", "secret", "c"), false);
    assert.deepEqual(asked, ["secret"]);
  });

  it("bounds what waits, of one client and in all", async () => {
    const { asked, release, thread } = fakeThread();
    const passwords = passwordsOf(thread);
    const checks = [];
    for (let client = 0; client < 20; client += 1) {
      for (let at = 0; at < 10; at += 1) {
        checks.push(passwords.check("anna", `guess ${client} ${at}`, `client ${client}`));
      }
    }
    const settled = Promise.allSettled(checks);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked.length, 64);
    release();
    const refused = (await settled).filter(({ status }) => status === "rejected");
    assert.equal(refused.length, 200 - 64);
  });

  it("makes a client that guesses wait, but not one whose password is known to be right", async () => {
    const { release, thread } = fakeThread();
    release();
    const passwords = passwordsOf(thread, 3);
    assert.ok(await passwords.check("anna", "secret", "c"));
    for (let at = 0; at < 3; at += 1) assert.ok(!(await passwords.check("anna", `${at}`, "c")));
    await assert.rejects(passwords.check("anna", "again", "c"), {
      status: 429,
      headers: { "Retry-After": "20" },
    });
    assert.ok(await passwords.check("anna", "secret", "c"));
    assert.ok(!(await passwords.check("anna", "again", "other client")));
  });
});

describe("RateLimiter", () => {
  it("lets a burst through, then one at a time, and says how long to wait", () => {
    const limiter = new RateLimiter({ perSecond: 2, burst: 3 });
    assert.deepEqual(
      [0, 0, 0, 0].map(() => limiter.take("a", 1000)),
      [0, 0, 0, 500],
    );
    assert.equal(limiter.take("b", 1000), 0);
    assert.equal(limiter.take("a", 1500), 0);
    assert.equal(limiter.take("a", 1500), 500);
    assert.equal(limiter.peek("a", 2000), 0);
  });

  it("remembers no more than 10,000 keys", () => {
    const limiter = new RateLimiter({ perSecond: 1, burst: 1 });
    limiter.take("first", 0);
    for (let at = 0; at < 10_000; at += 1) limiter.take(`${at}`, 0);
    assert.equal(limiter.take("9999", 0), 1000);
    assert.equal(limiter.take("first", 0), 0);
  });
});

describe("WatchedFile", () => {
  it("reads a changed file again, and keeps the value when the change is unusable", async () => {
    await using folder = await freshFolder();
    const path = join(folder.path, "f");
    writeFileSync(path, "1");
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
    const parse = (text: string): number => {
      if (!/^\d+$/.test(text)) throw new Error("no number");
      return Number(text);
    };
    const file = new WatchedFile(path, parse, logger);
    const change = (text: string, time: number) => {
      writeFileSync(path, text);
      utimesSync(path, time, time);
      file.reload();
      file.reload();
      return file.value;
    };
    assert.equal(change("2", 1), 2);
    assert.equal(change("x", 2), 2);
    assert.equal(errors.length, 1);
    assert.equal(change("3", 3), 3);
    rmSync(path);
    file.reload();
    file.reload();
    assert.equal(file.value, 3);
    assert.equal(errors.length, 2);
    assert.throws(() => new WatchedFile(path, parse, logger), { code: "ENOENT" });
  });
});
