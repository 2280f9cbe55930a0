import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { basic, bearer, openGuarded } from "../testing/guarded.ts";
import { ask, pieces } from "../testing/harness.ts";

const ROUNDS = 1_500;

/** Texts made of the seeds by changing, cutting and repeating pieces; always the same ones. */
function* mutations(seeds: readonly string[]): Iterable<string> {
  let state = 20_261_127;
  const next = (limit: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
  const odd = [
    "",
    " ",
    ".",
    ":",
    ",",
    "=",
    "&",
    "%",
    "\0",
    "é",
    "A",
    "{",
    '"',
    "\n",
    "=".repeat(99),
  ];
  for (let round = 0; round < ROUNDS; round += 1) {
    let text = seeds[next(seeds.length)] ?? "";
    for (let change = next(3); change >= 0; change -= 1) {
      const at = next(text.length + 1);
      const end = at + next(4) * next(8);
      const piece =
        next(4) === 0 ? text.slice(at, at + 40).repeat(1 + next(3)) : odd[next(odd.length)];
      text = text.slice(0, at) + piece + text.slice(end);
    }
    yield text;
  }
}

describe("access control and hostile clients", () => {
  const rules = [{ repositories: ["a"], users: ["anna"], allow: ["pull"] as const }];

  it("answers every Authorization header, and lets nobody do more for it", async () => {
    await using guarded = await openGuarded({ users: ["anna"], rules, failedLoginsPerMinute: 10 });
    const token = await guarded.token("anna", "repository:a:pull", "repository:b:pull,push");
    const seeds = [
      basic("anna").authorization,
      bearer(token).authorization,
      "Basic",
      "Bearer a.b.c",
    ];
    for (const authorization of mutations(seeds)) {
      const headers = { host: "h", authorization };
      const { status } = await ask(guarded.handler, "POST", "/v2/b/blobs/uploads/", { headers });
      assert.ok([401, 403, 429].includes(status), `${status} for ${authorization}`);
      const base = await ask(guarded.handler, "GET", "/v2/", { headers });
      assert.ok([200, 401, 429].includes(base.status), `${base.status} for ${authorization}`);
    }
  });

  it("answers every request for a token", async () => {
    await using guarded = await openGuarded({ users: ["anna"], rules, failedLoginsPerMinute: 10 });
    const { tokens } = guarded.access;
    const form = "grant_type=password&username=anna&password=annaanna&scope=repository:a:pull";
    for (const text of mutations([form, "scope=repository:a:pull&scope=repository:b:push"])) {
      const body = pieces(Buffer.from(text));
      const posted = await ask(tokens!, "POST", "/token", { body });
      assert.ok([200, 400, 401, 429].includes(posted.status), `${posted.status} for ${text}`);
      const headers = basic("anna");
      const got = await ask(tokens!, "GET", `/token?${text}`, { headers });
      assert.equal(got.status, 200, text);
      const { scope } = JSON.parse(got.bytes.toString()) as { scope: string };
      assert.ok(["", "repository:a:pull"].includes(scope), scope);
    }
  });
});
