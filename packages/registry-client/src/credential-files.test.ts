import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { type CredentialFilesOptions, loadCredentials } from "./credential-files.ts";
import type { Credential } from "./credentials.ts";

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "credential-files-"));
});
after(() => rm(folder, { recursive: true, force: true }));

const packed = (text: string): { auth: string } => ({ auth: Buffer.from(text).toString("base64") });

let files = 0;
async function fileOf(content: unknown): Promise<string> {
  files += 1;
  const path = join(folder, `config-${files}.json`);
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

async function find(
  content: unknown,
  registry: string,
  repository?: string,
  options: Partial<CredentialFilesOptions> = {},
): Promise<Credential | undefined> {
  return loadCredentials({ files: [await fileOf(content)], ...options }).find(registry, repository);
}

/** A helper that is a shell script. */
async function helper(name: string, script: string): Promise<Partial<CredentialFilesOptions>> {
  const path = join(folder, `docker-credential-${name}`);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return { helperEnvironment: { PATH: `${folder}:/usr/bin:/bin` } };
}

const USER: Credential = { kind: "basic", username: "me", password: "pa:ss" };

const ENTRIES: readonly [name: string, auths: object, registry: string, repository?: string][] = [
  ["a host", { "r.example:5000": packed("me:pa:ss") }, "r.example:5000"],
  ["a URL", { "https://r.example/v2/": packed("me:pa:ss") }, "r.example"],
  ["a host with a version", { "r.example/v1/": packed("me:pa:ss") }, "r.example"],
  ["Docker Hub by its old URL", { "https://index.docker.io/v1/": packed("me:pa:ss") }, "docker.io"],
  ["Docker Hub by its name", { "docker.io": packed("me:pa:ss") }, "docker.io"],
  [
    "user and password in the clear",
    { "r.example": { username: "me", password: "pa:ss" } },
    "r.example",
  ],
  [
    "a repository",
    { "r.example": packed("x:y"), "r.example/team/app": packed("me:pa:ss") },
    "r.example",
    "team/app",
  ],
  [
    "a parent of the repository",
    { "r.example/team/other": packed("x:y"), "r.example/team": packed("me:pa:ss") },
    "r.example",
    "team/app",
  ],
  [
    "the host when the path is another",
    { "r.example/team": packed("x:y"), "r.example": packed("me:pa:ss") },
    "r.example",
    "teams/app",
  ],
];

for (const [name, auths, registry, repository] of ENTRIES) {
  test(`loadCredentials() finds ${name}`, async () => {
    assert.deepEqual(await find({ auths }, registry, repository), USER);
  });
}

test("loadCredentials() reads identity and registry tokens", async () => {
  assert.deepEqual(
    await find({ auths: { r: { ...packed("u:"), identitytoken: "refresh" } } }, "r"),
    { kind: "identity", refreshToken: "refresh" },
  );
  assert.deepEqual(await find({ auths: { r: { registrytoken: "given" } } }, "r"), {
    kind: "bearer",
    token: "given",
  });
});

test("loadCredentials() knows nothing where there is nothing", async () => {
  for (const content of [
    "",
    "{}",
    { auths: { "r.example": {} } },
    { auths: { "r.example.com": packed("a:b") } },
  ]) {
    assert.equal(await find(content, "r.example"), undefined);
  }
  assert.equal(
    await loadCredentials({ files: [join(folder, "missing"), "/dev/null/x"] }).find("r", undefined),
    undefined,
  );
});

test("loadCredentials() takes the first file that knows the registry, and reads anew each time", async () => {
  const first = await fileOf({ auths: { a: packed("me:1") } });
  const second = await fileOf({ auths: { a: packed("me:2"), b: packed("me:3") } });
  const source = loadCredentials({ files: [first, second] });
  assert.deepEqual(await source.find("a", undefined), {
    kind: "basic",
    username: "me",
    password: "1",
  });
  assert.deepEqual(await source.find("b", undefined), {
    kind: "basic",
    username: "me",
    password: "3",
  });
  await writeFile(first, JSON.stringify({ auths: { a: packed("me:rotated") } }));
  assert.deepEqual(await source.find("a", undefined), {
    kind: "basic",
    username: "me",
    password: "rotated",
  });
});

test("loadCredentials() asks the registry's helper before the store and the file", async () => {
  const options = await helper(
    "own",
    'read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}"',
  );
  const content = {
    credHelpers: { "r.example": "own" },
    credsStore: "missing",
    auths: { "r.example": packed("x:y") },
  };
  assert.deepEqual(await find(content, "r.example", undefined, options), {
    kind: "basic",
    username: "r.example",
    password: "s",
  });
  const hub = await find({ credsStore: "own" }, "docker.io", undefined, options);
  assert.deepEqual(hub, { kind: "basic", username: "https://index.docker.io/v1/", password: "s" });
});

test("loadCredentials() understands a helper's identity token", async () => {
  const options = await helper(
    "identity",
    'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"refresh\\"}"',
  );
  assert.deepEqual(await find({ credsStore: "identity" }, "r", undefined, options), {
    kind: "identity",
    refreshToken: "refresh",
  });
});

test("loadCredentials() goes on to the file when the helper has none", async () => {
  const options = await helper("none", "echo credentials not found in native keychain; exit 1");
  assert.deepEqual(
    await find({ credsStore: "none", auths: { r: packed("me:pa:ss") } }, "r", undefined, options),
    USER,
  );
});

const BROKEN: readonly [name: string, script: string, want: RegExp, code: string][] = [
  ["fails", "echo s3cret; echo s3cret >&2; exit 3", /ended with code 3/, "failed_precondition"],
  ["prints no JSON", "echo s3cret", /output is not understood/, "failed_precondition"],
  ["prints too much", "yes s3cret | head -c 300000", /prints more than/, "failed_precondition"],
  ["hangs", "sleep 2 & sleep 2", /no answer within 300 ms/, "deadline_exceeded"],
];

for (const [name, script, want, code] of BROKEN) {
  test(`loadCredentials() says so when a helper ${name}`, async () => {
    const options = { ...(await helper("broken", script)), helperTimeoutMs: 300 };
    await assert.rejects(
      find({ credsStore: "broken" }, "r", undefined, options),
      (error: Error) => {
        assert.match(error.message, want);
        assert.equal((error as { code?: string }).code, code);
        assert.doesNotMatch(inspect(error), /s3cret/);
        return true;
      },
    );
  });
}

test("loadCredentials() says which helper is missing, and refuses names with paths", async () => {
  const options = { helperEnvironment: { PATH: folder } };
  await assert.rejects(
    find({ credsStore: "nowhere" }, "r", undefined, options),
    /docker-credential-nowhere, named in .*config-\d+\.json: it is not on the PATH/,
  );
  await assert.rejects(
    find({ credsStore: "../x" }, "r", undefined, options),
    /its name is not made of/,
  );
});

test("loadCredentials() stops a helper on abort", async () => {
  const options = await helper("slow", "sleep 2");
  const source = loadCredentials({ files: [await fileOf({ credsStore: "slow" })], ...options });
  const abort = new AbortController();
  const asked = source.find("r", undefined, { signal: abort.signal });
  setTimeout(() => abort.abort(new Error("enough")), 50);
  await assert.rejects(asked, /enough/);
});

test("loadCredentials() does not repeat a broken file's content", async () => {
  for (const content of [
    '{"auths":{"r":{"auth":"s3cret"',
    "[]",
    { auths: { r: { auth: "czNjcmV0" } } },
  ]) {
    await assert.rejects(find(content, "r"), (error: Error) => {
      assert.match(error.message, /config-\d+\.json/);
      assert.doesNotMatch(inspect(error), /s3cret|czNjcmV0/);
      return true;
    });
  }
});
