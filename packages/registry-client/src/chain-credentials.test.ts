import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AppError } from "@soci-ts/core";
import { chainCredentials, type NamedSource } from "./chain-credentials.ts";
import { loadCredentials } from "./credential-files.ts";
import type { Credential, CredentialSource } from "./credentials.ts";
import { RememberedCredentials } from "./remembered-credentials.ts";
import { patternBytes, repositoryOn, testClient } from "./testing/clients.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";
import { answer, startServer } from "./testing/http-server.ts";
import { recordingLogger } from "./testing/recorder.ts";

const basic = (password: string): Credential => ({ kind: "basic", username: "me", password });
const header = (password: string): string =>
  `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;

function named(...sources: readonly (Credential | Error | undefined)[]): NamedSource[] {
  return sources.map((result, at) => ({
    name: `source-${at}`,
    source: {
      find: async () => {
        if (result instanceof Error) throw result;
        return result;
      },
    },
  }));
}

test("chainCredentials() goes on when a source has none, fails, or was refused", async () => {
  const broken = new AppError("failed_precondition", "broken");
  const chain = chainCredentials(named(undefined, broken, basic("one"), basic("two")));
  assert.deepEqual(await chain.find("r", "a"), basic("one"));
  assert.deepEqual(await chain.find("r", "a", { refused: [basic("one")] }), basic("two"));
  const both = { refused: [basic("one"), basic("two")] };
  assert.equal(await chain.find("r", "a", both), undefined);
});

test("chainCredentials() logs each kind of failure once, and passes on an abort", async () => {
  const logger = recordingLogger();
  const broken = new AppError("failed_precondition", "broken");
  const chain = chainCredentials(named(broken, broken), logger);
  for (let k = 0; k < 3; k++) assert.equal(await chain.find("r", "a"), undefined);
  assert.equal(logger.lines.length, 2);
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(chain.find("r", "a", { signal }), /enough/);
});

/** A registry that takes one password, by Basic. */
async function registryThatTakes(password: () => string): Promise<FakeRegistry> {
  const registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    if (request.headers.authorization === header(password())) return false;
    answer(response, 401, { "www-authenticate": 'Basic realm="x"' });
    return true;
  };
  return registry;
}

test("after a 401 the next source's credential is tried, and the refused one comes last for a while", async () => {
  await using registry = await registryThatTakes(() => "good");
  const blob = registry.addBlob(patternBytes(10));
  const credentials = chainCredentials(named(basic("stale"), basic("bad"), basic("good")));
  await using client = testClient({ credentials });
  const name = repositoryOn(registry);
  assert.equal(await client.blobExists(name, blob.digest), true);
  const tried = registry.requests.map(({ headers }) => headers.authorization);
  assert.deepEqual(tried, [undefined, header("stale"), header("bad"), header("good")]);
  assert.equal(await client.blobExists(name, blob.digest), true);
  assert.equal(registry.requests.length, 5);
});

test("after a refusal by the token server the next source's credential is tried", async () => {
  const seen: (string | undefined)[] = [];
  await using auth = await startServer((request, response) => {
    seen.push(request.headers.authorization);
    const isGood = request.headers.authorization === header("good");
    answer(response, isGood ? 200 : 401, {}, isGood ? '{"token":"t1"}' : "");
  });
  await using registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    if (request.headers.authorization === "Bearer t1") return false;
    answer(response, 401, { "www-authenticate": `Bearer realm="${auth.url}/t",service="s"` });
    return true;
  };
  const blob = registry.addBlob(patternBytes(10));
  const credentials = chainCredentials(named(basic("stale"), basic("good")));
  await using client = testClient({ credentials });
  assert.equal(await client.blobExists(repositoryOn(registry), blob.digest), true);
  assert.deepEqual(seen, [header("stale"), header("good")]);
});

test("when all are refused it is one error, and all are tried again the next time", async () => {
  let password = "other";
  await using registry = await registryThatTakes(() => password);
  const blob = registry.addBlob(patternBytes(10));
  await using client = testClient({
    credentials: chainCredentials(named(basic("one"), basic("two"))),
  });
  const name = repositoryOn(registry);
  await assert.rejects(client.blobExists(name, blob.digest), { code: "unauthenticated" });
  assert.equal(registry.requests.length, 3);
  password = "one";
  assert.equal(await client.blobExists(name, blob.digest), true);
});

test("a source that makes up a new credential each time is not asked for ever", async () => {
  await using registry = await registryThatTakes(() => "never");
  let made = 0;
  const endless: CredentialSource = {
    find: async () => {
      made += 1;
      return basic(`made-${made}`);
    },
  };
  await using client = testClient({ credentials: endless });
  await assert.rejects(client.ping(registry.host), { code: "unauthenticated" });
  assert.ok(registry.requests.length <= 10, `${registry.requests.length} requests`);
});

test("credentials that change in a file or are given by kubelet count without a new client", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rotation-"));
  try {
    let password = "first-pass";
    await using registry = await registryThatTakes(() => password);
    const file = join(folder, "config.json");
    const write = (text: string): Promise<void> =>
      writeFile(
        file,
        JSON.stringify({
          auths: { [registry.host]: { auth: Buffer.from(`me:${text}`).toString("base64") } },
        }),
      );
    const remembered = new RememberedCredentials();
    await using client = testClient({
      credentials: chainCredentials([
        { name: "kubelet", source: remembered },
        { name: "files", source: loadCredentials({ files: [file] }) },
      ]),
    });
    const name = repositoryOn(registry);
    const { digest } = registry.addBlob(patternBytes(10));
    await write("first-pass");
    assert.equal(await client.blobExists(name, digest), true);
    password = "second-pass";
    await write("second-pass");
    assert.equal(await client.blobExists(name, digest), true);
    password = "third-pass";
    remembered.put(name.registry, name.repository, basic("third-pass"));
    assert.equal(await client.blobExists(name, digest), true);
    // What kubelet gave is old by now; the file has what is wanted.
    password = "fourth-pass";
    await write("fourth-pass");
    assert.equal(await client.blobExists(name, digest), true);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
