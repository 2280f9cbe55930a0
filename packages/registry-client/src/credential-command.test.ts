import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { type CommandCredentialsOptions, commandCredentials } from "./credential-command.ts";
import type { CredentialSource } from "./credentials.ts";

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "credential-command-"));
});
after(() => rm(folder, { recursive: true, force: true }));

let scripts = 0;

async function program(script: string): Promise<string> {
  scripts += 1;
  const path = join(folder, `command-${scripts}`);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

/** A command that is a shell script. */
async function command(
  script: string,
  options: Partial<CommandCredentialsOptions> = {},
): Promise<CredentialSource> {
  return commandCredentials({ argv: [await program(script), "--region", "x y"], ...options });
}

/** Prints a credential whose password counts the runs. */
const counting = (file: string): string =>
  `echo run >> ${file}; printf '{"Username":"me","Secret":"s%d"}' $(wc -l < ${file})`;

const password = (n: number): object => ({ kind: "basic", username: "me", password: `s${n}` });

test("commandCredentials() passes its arguments, get, and the server on standard input", async () => {
  const source = await command(
    'read server; printf \'{"Username":"%s|%s|%s","Secret":"%s"}\' "$1" "$2" "$3" "$server"',
  );
  const found = await source.find("r.example:5000", "team/app");
  const username = "--region|x y|get";
  assert.deepEqual(found, { kind: "basic", username, password: "r.example:5000" });
  const hub = await source.find("docker.io", undefined);
  assert.equal(hub?.kind === "basic" && hub.password, "https://index.docker.io/v1/");
});

test("commandCredentials() has none where the command says so", async () => {
  const source = await command("echo credentials not found in native keychain; exit 1");
  assert.equal(await source.find("r", undefined), undefined);
});

test("commandCredentials() runs each time, or as rarely as it is told, or when its answer was refused", async () => {
  const eachTime = await command(counting(join(folder, "each")));
  assert.deepEqual(await eachTime.find("r", "a"), password(1));
  assert.deepEqual(await eachTime.find("r", "a"), password(2));
  const file = join(folder, "kept");
  const kept = await command(counting(file), { cacheMs: 60_000 });
  const [first, second] = await Promise.all([kept.find("r", "a"), kept.find("r", "b")]);
  assert.deepEqual([first, second], [password(1), password(1)]);
  assert.deepEqual(await kept.find("r", "a"), password(1));
  assert.deepEqual(await kept.find("r", "a", { refused: [first!] }), password(2));
  assert.deepEqual(await kept.find("r", "a"), password(2));
  assert.equal((await readFile(file, "utf8")).length, 2 * "run\n".length);
});

const BROKEN: readonly [name: string, script: string, want: RegExp, code: string][] = [
  ["fails", "echo s3cret; echo s3cret >&2; exit 3", /ended with code 3/, "failed_precondition"],
  ["prints no JSON", "echo s3cret", /output is not understood/, "failed_precondition"],
  ["prints too much", "yes s3cret | head -c 300000", /prints more than/, "failed_precondition"],
  ["hangs", "sleep 2 & sleep 2", /no answer within 300 ms/, "deadline_exceeded"],
];

for (const [name, script, want, code] of BROKEN) {
  test(`commandCredentials() says so when the command ${name}, and not what it printed`, async () => {
    const argv = [await program(script), "--password=s3cret"];
    const source = commandCredentials({ argv, timeoutMs: 300 });
    await assert.rejects(source.find("r", undefined), (error: Error & { code?: string }) => {
      assert.match(error.message, want);
      assert.equal(error.code, code);
      assert.doesNotMatch(inspect(error, { depth: 20, showHidden: true }), /s3cret/);
      return true;
    });
  });
}

test("commandCredentials() wants a program, and says when it is not there", async () => {
  assert.throws(() => commandCredentials({ argv: [] }), { code: "invalid_argument" });
  const missing = commandCredentials({ argv: [join(folder, "missing")] });
  await assert.rejects(missing.find("r", undefined), { code: "failed_precondition" });
});
