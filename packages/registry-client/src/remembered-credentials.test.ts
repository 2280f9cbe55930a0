import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import type { Credential } from "./credentials.ts";
import { RememberedCredentials } from "./remembered-credentials.ts";

const basic = (password: string): Credential => ({ kind: "basic", username: "me", password });

async function passwordOf(
  source: RememberedCredentials,
  registry: string,
  repository?: string,
  refused: readonly Credential[] = [],
): Promise<string | undefined> {
  const found = await source.find(registry, repository, { refused });
  return found?.kind === "basic" ? found.password : undefined;
}

test("RememberedCredentials gives the longest prefix, and of one prefix the newest", async () => {
  const source = new RememberedCredentials();
  assert.equal(await passwordOf(source, "r", "team/app"), undefined);
  source.put("r", undefined, basic("registry"));
  source.put("r", "team", basic("team"));
  source.put("r", "team/app", basic("old"));
  source.put("r", "team/app", basic("new"));
  assert.equal(await passwordOf(source, "r", "team/app"), "new");
  assert.equal(await passwordOf(source, "r", "team/app/sub"), "new");
  assert.equal(await passwordOf(source, "r", "team/apple"), "team");
  assert.equal(await passwordOf(source, "r", "other"), "registry");
  assert.equal(await passwordOf(source, "r"), "registry");
  assert.equal(await passwordOf(source, "r:5000", "team/app"), undefined);
  assert.equal(await passwordOf(source, "r", "team/app", [basic("new")]), "team");
  source.forget("r", "team/app");
  source.forget("r", "team/app");
  assert.equal(await passwordOf(source, "r", "team/app"), "team");
});

test("RememberedCredentials knows Docker Hub by all its names", async () => {
  const source = new RememberedCredentials();
  source.put("index.docker.io", undefined, basic("hub"));
  assert.equal(await passwordOf(source, "docker.io", "library/python"), "hub");
});

test("RememberedCredentials forgets the oldest when there are too many", async () => {
  const source = new RememberedCredentials();
  source.put("r", "first", basic("first"));
  source.put("r", "kept", basic("kept"));
  source.put("r", "first", basic("again"));
  for (let k = 0; k < 4_095; k++) source.put("r", `n${k}`, basic("x"));
  assert.equal(source.count, 4_096);
  assert.equal(await passwordOf(source, "r", "kept"), undefined);
  assert.equal(await passwordOf(source, "r", "first"), "again");
});

test("RememberedCredentials shows nothing when it is printed", () => {
  const source = new RememberedCredentials();
  source.put("r", undefined, basic("s3cret"));
  const shown = inspect({ source }, { depth: 20, showHidden: true, getters: true });
  assert.doesNotMatch(`${shown} ${JSON.stringify({ source })} ${String(source)}`, /s3cret/);
});
