import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { permissionOf } from "./permission.ts";
import { ACTIONS, AccessRules, type Action } from "./rules.ts";
import { formatScope, isGranted, parseScopes } from "./scopes.ts";

const RULES = new AccessRules(
  [
    { repositories: ["open/*"], users: ["anonymous"], allow: ["pull"] },
    { repositories: ["*"], users: ["*"], allow: ["pull"] },
    { repositories: ["team/*", "shared"], users: ["@team"], allow: ["push"] },
    { repositories: ["team/*"], users: ["anna"], allow: ["delete"] },
  ],
  [{ name: "team", users: ["anna", "bob"] }],
);

describe("AccessRules", () => {
  const rows: [user: string | undefined, repository: string, allowed: Action[]][] = [
    [undefined, "open/a", ["pull"]],
    [undefined, "team/a", []],
    ["eve", "team/a", ["pull"]],
    ["bob", "team/a", ["pull", "push"]],
    ["anna", "team/a", ["pull", "push", "delete"]],
    ["anna", "open/a", ["pull"]],
    ["@team", "team/a", ["pull"]],
    ["anonymous", "team/a", ["pull"]],
  ];
  for (const [user, repository, allowed] of rows) {
    it(`lets ${user} ${allowed.join(", ") || "do nothing"} in ${repository}`, () => {
      const actions = ACTIONS.filter((action) => RULES.allows(user, repository, action));
      assert.deepEqual(actions, allowed);
    });
  }

  it("knows whether anything is allowed to nobody in particular", () => {
    assert.ok(RULES.hasAnonymous);
    assert.ok(!new AccessRules([]).hasAnonymous);
  });
});

describe("permissionOf()", () => {
  const push = { repository: "team/a", action: "push" } as const;
  const grants = parseScopes(["repository:team/a:pull,push"]);
  const none = parseScopes([]);

  it("tells apart what logging in, another token, and nothing would change", () => {
    assert.equal(permissionOf({ kind: "none" }, RULES, push), "login");
    assert.equal(permissionOf({ kind: "password", user: "bob" }, RULES, push), "allowed");
    assert.equal(permissionOf({ kind: "password", user: "eve" }, RULES, push), "denied");
    const own = (user: string | undefined, of = grants) =>
      permissionOf({ kind: "own_token", user, grants: of }, RULES, push);
    assert.equal(own("bob"), "allowed");
    assert.equal(own("bob", none), "token");
    assert.equal(own("eve"), "denied");
    assert.equal(own(undefined), "login");
  });

  it("believes a foreign token whatever the rules say", () => {
    const foreign = (of = grants) =>
      permissionOf({ kind: "issuer_token", user: "eve", grants: of }, RULES, push);
    assert.equal(foreign(), "allowed");
    assert.equal(foreign(none), "token");
    assert.equal(foreign(parseScopes(["repository:team/a:*"])), "allowed");
  });
});

describe("parseScopes()", () => {
  it("reads several, in one text and in many, and joins those of one repository", () => {
    const scopes = parseScopes([
      "repository:a/b:pull repository:c:pull,push",
      "repository:a/b:delete",
    ]);
    assert.equal(formatScope(scopes), "repository:a/b:pull,delete repository:c:pull,push");
    assert.ok(isGranted(scopes, "c", "push"));
    assert.ok(!isGranted(scopes, "c", "delete"));
    assert.ok(!isGranted(scopes, "d", "pull"));
  });

  it("passes over what is no repository, and what is too much", () => {
    const odd = ["registry:catalog:*", "repository:A:pull", "repository", "", "repository:a:b:c"];
    assert.equal(parseScopes(odd).size, 0);
    assert.equal(parseScopes(['repository:a"\r\nX: y:pull']).size, 0);
    const many = Array.from({ length: 1000 }, (_, at) => `repository:r${at}:pull`);
    assert.equal(parseScopes(many).size, 64);
    assert.equal(parseScopes([`repository:a:${"x,".repeat(1000)}`]).get("a")!.size, 1);
  });
});
