import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes } from "@soci-ts/core";
import { type RawAnswer, RawRegistry, type RawRegistryOptions } from "./raw-registry.ts";
import { answer, startServer, type TestServer } from "./testing/http-server.ts";

const SCOPE = { repository: "a", scopes: ["repository:a:pull"] };
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

function registryOf(server: TestServer, more: Partial<RawRegistryOptions> = {}): RawRegistry {
  return new RawRegistry({ name: "r.test", url: new URL(server.url), ...more });
}

function get(registry: RawRegistry, target = "/v2/a/blobs/x", headers = {}): Promise<RawAnswer> {
  return registry.send({ method: "GET", target, headers, scope: SCOPE });
}

async function textOf({ body }: RawAnswer): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.from(concatBytes(pieces)).toString();
}

describe("RawRegistry.send()", () => {
  it("gives any status, headers and body as they came, with the caller's Authorization", async () => {
    await using server = await startServer(({ headers }, response) =>
      answer(
        response,
        401,
        { "www-authenticate": 'Basic realm="x"', "x-a": ["1", "2"] },
        headers.authorization,
      ),
    );
    await using registry = registryOf(server);
    const refused = await get(registry, undefined, { authorization: basic("me:pw") });
    assert.equal(refused.status, 401);
    assert.equal(refused.headers["www-authenticate"], 'Basic realm="x"');
    assert.equal(refused.headers["x-a"], "1, 2");
    assert.equal(await textOf(refused), basic("me:pw"));
  });

  it("logs in by itself where it has credentials, and does not spend a streamed body on that", async () => {
    await using server = await startServer(({ headers, body }, response) => {
      const isIn = headers.authorization === basic("me:pw");
      answer(response, isIn ? 200 : 401, { "www-authenticate": 'Basic realm="x"' }, body);
    });
    const credentials = {
      find: async () => ({ kind: "basic", username: "me", password: "pw" }) as const,
    };
    await using registry = registryOf(server, { credentials });
    const body = (async function* () {
      yield Buffer.from("one ");
      yield Buffer.from("two");
    })();
    const sent = await registry.send({
      ...{ method: "POST", target: "/v2/a/blobs/uploads/", headers: {} },
      body,
      scope: SCOPE,
    });
    assert.equal(await textOf(sent), "one two");
    assert.equal((await get(registry)).status, 200);
  });

  it("follows redirects to where it may, without the Authorization", async () => {
    await using storage = await startServer(({ headers }, response) =>
      answer(response, 200, {}, String(headers.authorization)),
    );
    await using server = await startServer((_request, response) =>
      answer(response, 307, { location: `${storage.url}/blob` }),
    );
    await using registry = registryOf(server, { trustedHosts: [storage.host] });
    const found = await get(registry, undefined, { authorization: basic("me:pw") });
    assert.equal(await textOf(found), "undefined");
    await using strict = registryOf(server);
    await assert.rejects(get(strict), { code: "permission_denied" });
    assert.equal(storage.requests.length, 1);
  });

  it("fetches no token from an address in the own network that the registry names", async () => {
    await using tokens = await startServer((_request, response) =>
      answer(response, 200, {}, '{"token":"t"}'),
    );
    await using server = await startServer(({ headers }, response) =>
      answer(response, headers.authorization === "Bearer t" ? 200 : 401, {
        "www-authenticate": `Bearer realm="${tokens.url.replace("127.0.0.1", "localhost")}/token",service="s"`,
      }),
    );
    const credentials = { find: async () => undefined };
    await using strict = registryOf(server, { credentials });
    await assert.rejects(get(strict), { code: "permission_denied" });
    assert.equal(tokens.requests.length, 0);
    const trustedHosts = [tokens.host.replace("127.0.0.1", "localhost")];
    await using registry = registryOf(server, { credentials, trustedHosts });
    assert.equal((await get(registry)).status, 200);
  });

  it("sends nothing to a target that is another host", async () => {
    await using server = await startServer((_request, response) => answer(response, 200));
    await using registry = registryOf(server);
    for (const target of ["//evil.example/v2/", "http://evil.example/v2/"]) {
      await assert.rejects(get(registry, target), { code: "invalid_argument" });
    }
    assert.throws(() => registry.location("ftp://x/", registry.url), {
      code: "failed_precondition",
    });
  });
});
