import assert from "node:assert/strict";
import { test } from "node:test";
import type { Credential, CredentialSource } from "./credentials.ts";
import { RegistryError } from "./errors.ts";
import { patternBytes, repositoryOn, testClient } from "./testing/clients.ts";
import { type FakeRegistry, startFakeRegistry } from "./testing/fake-registry.ts";
import { answer, type SeenRequest, startServer, type TestServer } from "./testing/http-server.ts";

const USER: Credential = { kind: "basic", username: "me", password: "s3cret" };
const BASIC = `Basic ${Buffer.from("me:s3cret").toString("base64")}`;

function sourceOf(credential: Credential | undefined): CredentialSource & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    find: async (registry, repository) => {
      asked.push(`${registry} ${repository ?? ""}`);
      return credential;
    },
  };
}

interface TokenSetup extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly auth: TestServer;
  /** Tokens that the registry takes. */
  readonly good: Set<string>;
}

/** A registry that wants tokens `t1`, `t2`, … of its token server, and a way to revoke them. */
async function tokenSetup(reply: (n: number) => object = () => ({})): Promise<TokenSetup> {
  const good = new Set<string>();
  let made = 0;
  const auth = await startServer((_request, response) => {
    made += 1;
    good.add(`t${made}`);
    answer(response, 200, {}, JSON.stringify({ token: `t${made}`, ...reply(made) }));
  });
  const registry = await startFakeRegistry();
  registry.intercept = (request, response) => {
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1];
    if (token !== undefined && good.has(token)) return false;
    const challenge = `Bearer realm="${auth.url}/token",service="the registry"`;
    answer(response, 401, { "www-authenticate": challenge });
    return true;
  };
  return {
    registry,
    auth,
    good,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await auth[Symbol.asyncDispose]();
    },
  };
}

const query = (request: SeenRequest | undefined): URLSearchParams =>
  new URL(request?.path ?? "/", "http://x").searchParams;

test("a token is asked for once and used for what comes after", async () => {
  await using setup = await tokenSetup();
  const { registry, auth } = setup;
  const blob = registry.addBlob(patternBytes(10));
  await using client = testClient({ credentials: sourceOf(USER) });
  const name = repositoryOn(registry);
  assert.equal(await client.blobExists(name, blob.digest), true);
  assert.equal(await client.blobExists(name, blob.digest), true);
  assert.equal(auth.requests.length, 1);
  assert.equal(auth.requests[0]?.headers.authorization, BASIC);
  assert.equal(query(auth.requests[0]).get("scope"), "repository:team/app:pull");
  assert.equal(query(auth.requests[0]).get("service"), "the registry");
  assert.equal(registry.requests.length, 3, "refused once, then two that are prepared");
});

test("requests at the same time share one token", async () => {
  await using setup = await tokenSetup();
  const blob = setup.registry.addBlob(patternBytes(10));
  await using client = testClient();
  await Promise.all(
    Array.from({ length: 8 }, () => client.blobExists(repositoryOn(setup.registry), blob.digest)),
  );
  assert.equal(setup.auth.requests.length, 1);
  assert.equal(
    setup.auth.requests[0]?.headers.authorization,
    undefined,
    "anonymous without credentials",
  );
});

test("another repository and another action get their own tokens", async () => {
  await using setup = await tokenSetup();
  const { registry, auth } = setup;
  const bytes = patternBytes(10);
  const blob = registry.addBlob(bytes);
  await using client = testClient();
  await client.blobExists(repositoryOn(registry, "a"), blob.digest);
  await client.blobExists(repositoryOn(registry, "b"), blob.digest);
  registry.blobs.clear();
  await client.pushBlob(repositoryOn(registry, "a"), blob, bytes, { mountFrom: "b" });
  assert.deepEqual(
    auth.requests.map((request) => query(request).getAll("scope")),
    [
      ["repository:a:pull"],
      ["repository:b:pull"],
      ["repository:a:pull,push"],
      ["repository:a:pull,push", "repository:b:pull"],
    ],
  );
});

test("a token that is refused in between is renewed", async () => {
  await using setup = await tokenSetup();
  const blob = setup.registry.addBlob(patternBytes(10));
  await using client = testClient({ credentials: sourceOf(USER) });
  await client.blobExists(repositoryOn(setup.registry), blob.digest);
  setup.good.clear();
  assert.equal(await client.blobExists(repositoryOn(setup.registry), blob.digest), true);
  assert.equal(setup.auth.requests.length, 2);
});

test("an expired token is not sent", async () => {
  await using setup = await tokenSetup((n) => ({ expires_in: n === 1 ? 0.05 : 300 }));
  const blob = setup.registry.addBlob(patternBytes(10));
  await using client = testClient();
  await client.blobExists(repositoryOn(setup.registry), blob.digest);
  await new Promise((resolve) => setTimeout(resolve, 80));
  await client.blobExists(repositoryOn(setup.registry), blob.digest);
  assert.deepEqual(
    setup.registry.requests.map(({ headers }) => headers.authorization),
    [undefined, "Bearer t1", "Bearer t2"],
  );
});

test("a refresh token is exchanged by POST", async () => {
  await using setup = await tokenSetup(() => ({ token: undefined, access_token: "t1" }));
  const blob = setup.registry.addBlob(patternBytes(10));
  await using client = testClient({
    credentials: sourceOf({ kind: "identity", refreshToken: "r&fresh" }),
  });
  assert.equal(await client.blobExists(repositoryOn(setup.registry), blob.digest), true);
  const [request] = setup.auth.requests;
  assert.equal(request?.method, "POST");
  const form = new URLSearchParams(request?.body.toString());
  assert.equal(form.get("grant_type"), "refresh_token");
  assert.equal(form.get("refresh_token"), "r&fresh");
  assert.equal(form.get("scope"), "repository:team/app:pull");
});

test("a registry token is used as it is", async () => {
  await using setup = await tokenSetup();
  setup.good.add("given");
  const blob = setup.registry.addBlob(patternBytes(10));
  await using client = testClient({ credentials: sourceOf({ kind: "bearer", token: "given" }) });
  assert.equal(await client.blobExists(repositoryOn(setup.registry), blob.digest), true);
  assert.equal(setup.auth.requests.length, 0);
});

test("scopes that the registry names are asked for too", async () => {
  await using setup = await tokenSetup();
  const { registry, auth } = setup;
  const plain = registry.intercept;
  registry.intercept = (request, response) => {
    if (
      request.headers.authorization === "Bearer t1" ||
      request.headers.authorization === undefined
    ) {
      const scope =
        request.headers.authorization === undefined
          ? ""
          : ',scope="repository:proxy/team/app:pull"';
      answer(response, 401, { "www-authenticate": `Bearer realm="${auth.url}/t"${scope}` });
      return true;
    }
    return plain?.(request, response) ?? false;
  };
  const blob = registry.addBlob(patternBytes(10));
  await using client = testClient();
  assert.equal(
    await client.blobExists(repositoryOn(registry), blob.digest).catch(() => false),
    false,
  );
  assert.equal(await client.blobExists(repositoryOn(registry), blob.digest), true);
  assert.deepEqual(query(auth.requests.at(-1)).getAll("scope"), [
    "repository:proxy/team/app:pull",
    "repository:team/app:pull",
  ]);
});

test("basic auth is asked for, kept, and looked up anew when it is refused", async () => {
  await using registry = await startFakeRegistry();
  let accepted = BASIC;
  registry.intercept = (request, response) => {
    if (request.headers.authorization === accepted) return false;
    const known = request.headers.authorization !== undefined;
    answer(response, known ? 403 : 401, known ? {} : { "www-authenticate": 'Basic realm="x"' });
    return true;
  };
  let credential = USER;
  await using client = testClient({ credentials: { find: async () => credential } });
  const blob = registry.addBlob(patternBytes(10));
  assert.equal(await client.blobExists(repositoryOn(registry), blob.digest), true);
  assert.equal(await client.blobExists(repositoryOn(registry), blob.digest), true);
  assert.equal(registry.requests.length, 3);
  credential = { ...USER, password: "rotated" };
  accepted = `Basic ${Buffer.from("me:rotated").toString("base64")}`;
  assert.equal(
    await client.blobExists(repositoryOn(registry), blob.digest),
    true,
    "a 403 of a kept login",
  );
});

test("credentials are asked for by registry and repository", async () => {
  await using setup = await tokenSetup();
  const credentials = sourceOf(USER);
  await using client = testClient({ credentials });
  await client.ping(setup.registry.host);
  await client.blobExists(
    repositoryOn(setup.registry),
    setup.registry.addBlob(patternBytes(1)).digest,
  );
  assert.deepEqual(credentials.asked, [
    `${setup.registry.host} `,
    `${setup.registry.host} team/app`,
  ]);
});

const REALMS: readonly [name: string, realm: string, want: RegExp][] = [
  ["no URL", "token", /is no URL/],
  ["another scheme", "file:///etc/passwd", /has the scheme file:/],
  ["a user name", "https://u:p@a.example/", /has a user name/],
];

for (const [name, realm, want] of REALMS) {
  test(`a realm with ${name} is refused`, async () => {
    await using registry = await startFakeRegistry();
    registry.intercept = (_request, response) => {
      answer(response, 401, { "www-authenticate": `Bearer realm="${realm}"` });
      return true;
    };
    await using client = testClient({ credentials: sourceOf(USER) });
    await assert.rejects(client.ping(registry.host), {
      code: "failed_precondition",
      message: want,
    });
  });
}

const TOKEN_ANSWERS: readonly [name: string, status: number, body: string, code: string][] = [
  ["a refusal", 401, '{"errors":[{"code":"DENIED","message":"no"}]}', "unauthenticated"],
  ["a refusal by 403", 403, "", "unauthenticated"],
  ["no JSON", 200, "<html>", "data_loss"],
  ["no token", 200, "{}", "data_loss"],
  ["a token that breaks headers", 200, '{"token":"a\\r\\nx: y"}', "data_loss"],
  ["a token that is no text", 200, '{"token":5}', "data_loss"],
  ["an endless answer", 200, `{"token":"${"x".repeat(400_000)}"}`, "resource_exhausted"],
  ["a redirect", 302, "", "failed_precondition"],
];

for (const [name, status, body, code] of TOKEN_ANSWERS) {
  test(`a token server that gives ${name} is an error`, async () => {
    await using setup = await tokenSetup();
    setup.auth.handler = (_request, response) =>
      answer(response, status, { location: "https://evil.example/" }, body);
    await using client = testClient({ credentials: sourceOf(USER) });
    await assert.rejects(client.ping(setup.registry.host), { code });
    assert.equal(setup.auth.requests.length, 1);
  });
}

test("a token server that is down for a moment is asked again", async () => {
  await using setup = await tokenSetup();
  const { handler } = setup.auth;
  let failures = 0;
  setup.auth.handler = (request, response) => {
    failures += 1;
    return failures < 3 ? answer(response, 503) : handler(request, response);
  };
  await using client = testClient();
  await client.ping(setup.registry.host);
  assert.equal(setup.auth.requests.length, 3);
});

test("a login that helps nothing ends in one error, not in a loop", async () => {
  await using setup = await tokenSetup();
  setup.registry.intercept = (_request, response) => {
    answer(response, 401, { "www-authenticate": `Bearer realm="${setup.auth.url}/"` });
    return true;
  };
  await using client = testClient({ credentials: sourceOf(USER) });
  await assert.rejects(client.ping(setup.registry.host), (error) => {
    assert.ok(error instanceof RegistryError);
    assert.equal(error.status, 401);
    assert.match(error.message, /wants a login/);
    return true;
  });
  assert.equal(setup.registry.requests.length, 2);
});
