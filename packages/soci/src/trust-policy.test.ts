import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { matchTrust, type TrustRule } from "./trust-policy.ts";

const DIGEST = sha256(Buffer.from("index"));

const RULES: readonly TrustRule[] = [
  { repositories: ["registry.example/team/open"], require: "any" },
  { repositories: ["other.example/*", "registry.example/team/*"], require: "bound" },
  { repositories: ["*/library/python"], require: "listed", digests: [DIGEST] },
  { repositories: ["*.internal/*/app-*-x"], require: "bound" },
];

const CASES: readonly [name: string, kind: string][] = [
  ["registry.example/team/open", "any"],
  ["registry.example/team/app", "bound"],
  ["registry.example/team/deep/app", "bound"],
  ["registry.example/team", "any"],
  ["registry.example/teams/app", "any"],
  ["other.example/app", "bound"],
  ["docker.io/library/python", "listed"],
  ["docker.io/library/python2", "any"],
  ["r.internal/a/b/app-1-x", "bound"],
  ["r.internal/a/app-x", "any"],
  ["r.internal/a/app--x", "bound"],
];

describe("matchTrust()", () => {
  for (const [name, kind] of CASES) {
    it(`says ${kind} for ${name}`, () => {
      const slash = name.indexOf("/");
      const registry = name.slice(0, slash);
      const policy = matchTrust(RULES, { registry, repository: name.slice(slash + 1) });
      assert.equal(policy.kind, kind);
    });
  }

  it("gives the digests of a list, and an empty list allows nothing", () => {
    const python = { registry: "docker.io", repository: "library/python" };
    assert.deepEqual(matchTrust(RULES, python), { kind: "listed", digests: [DIGEST] });
    const bare: TrustRule = { repositories: ["*"], require: "listed" };
    assert.deepEqual(matchTrust([bare], python), { kind: "listed", digests: [] });
  });

  it("takes no long time over many stars", () => {
    const repositories = [`${"*a".repeat(1_000)}b`];
    const name = { registry: "r", repository: "a".repeat(255) };
    assert.equal(matchTrust([{ repositories, require: "bound" }], name).kind, "any");
  });
});
