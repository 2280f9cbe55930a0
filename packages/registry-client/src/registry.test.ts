import assert from "node:assert/strict";
import { test } from "node:test";
import { RegistryError } from "./errors.ts";
import { FAST_RETRY, repositoryOn, testClient } from "./testing/clients.ts";
import { refuse, startFakeRegistry } from "./testing/fake-registry.ts";
import { answer, startServer } from "./testing/http-server.ts";

for (const status of [408, 429, 500, 502, 503, 504]) {
  test(`a ${status} is tried again`, async () => {
    await using registry = await startFakeRegistry();
    registry.intercept = (_request, response) => {
      if (registry.requests.length < 4) answer(response, status);
      return registry.requests.length < 4;
    };
    await using client = testClient();
    await client.ping(registry.host);
    assert.equal(registry.requests.length, 4);
  });
}

for (const status of [400, 403, 404, 405, 501]) {
  test(`a ${status} is not tried again`, async () => {
    await using registry = await startFakeRegistry();
    registry.intercept = (_request, response) => {
      refuse(response, status, "DENIED");
      return true;
    };
    await using client = testClient();
    await assert.rejects(
      client.ping(registry.host),
      (error) => error instanceof RegistryError && error.status === status,
    );
    assert.equal(registry.requests.length, 1);
  });
}

test("Retry-After is obeyed in seconds and as a date, and given up when it is too long", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  for (const retryAfter of [() => "1", () => new Date(Date.now() + 1_999).toUTCString()]) {
    let refusals = 1;
    registry.intercept = (_request, response) => {
      refusals -= 1;
      if (refusals === 0) answer(response, 429, { "retry-after": retryAfter() });
      return refusals === 0;
    };
    const started = performance.now();
    await client.ping(registry.host);
    assert.ok(performance.now() - started >= 900);
  }
  registry.intercept = (_request, response) => {
    answer(response, 503, { "retry-after": "3600" });
    return true;
  };
  const started = performance.now();
  await assert.rejects(client.ping(registry.host), {
    code: "unavailable",
    message: /asks to wait 3600 s/,
  });
  assert.ok(performance.now() - started < 1000);
});

test("a connection that is reset is tried again", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    if (registry.requests.length < 3) response.destroy();
    return registry.requests.length < 3;
  };
  await using client = testClient();
  await client.ping(registry.host);
  assert.equal(registry.requests.length, 3);
});

test("a registry that is not there is an error that says so", async () => {
  const server = await startServer(() => {});
  await server[Symbol.asyncDispose]();
  await using client = testClient();
  await assert.rejects(client.ping(server.host), {
    code: "unavailable",
    message: /the connection is refused/,
  });
});

test("an abort ends the wait between attempts", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    answer(response, 503, { "retry-after": "2" });
    return true;
  };
  await using client = testClient();
  const started = performance.now();
  await assert.rejects(client.ping(registry.host, { signal: AbortSignal.timeout(100) }), {
    name: "TimeoutError",
  });
  assert.ok(performance.now() - started < 1000);
});

test("an error's body is bounded", async () => {
  await using registry = await startFakeRegistry();
  registry.intercept = (_request, response) => {
    response.writeHead(400, { "content-type": "application/json" });
    const chunk = Buffer.alloc(65_536, "x");
    const more = (): void => {
      if (!response.destroyed) response.write(chunk, more);
    };
    more();
    return true;
  };
  await using client = testClient();
  await assert.rejects(client.ping(registry.host), { code: "invalid_argument" });
});

test("plain HTTP is found out on the loopback, and not used elsewhere", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient({ plainHttp: "auto" });
  assert.equal((await client.ping(registry.host)).protocol, "http:");
  await using strict = testClient({ plainHttp: false });
  await assert.rejects(strict.ping(registry.host), {
    code: "failed_precondition",
    message: /does not speak TLS/,
  });
});

test("http URLs go through an http proxy, with its login, and not those that NO_PROXY names", async () => {
  await using proxy = await startServer((_request, response) => answer(response, 200, {}, "{}"));
  const httpProxy = proxy.url.replace("http://", "http://user:s3cret@");
  await using client = testClient({ proxy: { httpProxy } });
  await client.ping("registry.test");
  assert.equal(proxy.requests[0]?.path, "http://registry.test/v2/");
  const login = `Basic ${Buffer.from("user:s3cret").toString("base64")}`;
  assert.equal(proxy.requests[0]?.headers["proxy-authorization"], login);
  await using direct = testClient({
    proxy: { httpProxy, noProxy: ".test" },
    retry: { ...FAST_RETRY, attempts: 1 },
  });
  await assert.rejects(direct.ping("registry.test"), { code: "unavailable" });
  assert.equal(proxy.requests.length, 1);
});

test("a client that is closed refuses, and closing twice is fine", async () => {
  await using registry = await startFakeRegistry();
  const client = testClient();
  await client.ping(registry.host);
  await client[Symbol.asyncDispose]();
  await client[Symbol.asyncDispose]();
  await assert.rejects(client.ping(registry.host), { code: "failed_precondition" });
});

test("listTags() reads all pages and refuses links that lead away or round", async () => {
  await using registry = await startFakeRegistry();
  for (const tag of ["a", "b", "c", "d", "e"]) {
    registry.manifests.set(`team/app:${tag}`, { bytes: Buffer.from("{}"), mediaType: "x/y" });
  }
  await using client = testClient();
  assert.deepEqual(await client.listTags(repositoryOn(registry)), ["a", "b", "c", "d", "e"]);
  for (const link of [
    "<http://127.0.0.1:9/v2/x>; rel=next",
    "</v2/team/app/tags/list?n=1>; rel=next",
    "</other>; rel=next",
  ]) {
    registry.intercept = (_request, response) => {
      answer(response, 200, { link }, '{"name":"x","tags":["a"]}');
      return true;
    };
    await assert.rejects(client.listTags(repositoryOn(registry)), { code: "data_loss" });
  }
});

test("listTags() takes null for none and refuses what is no tag list", async () => {
  await using registry = await startFakeRegistry();
  await using client = testClient();
  let body = '{"tags":null}';
  registry.intercept = (_request, response) => {
    answer(response, 200, {}, body);
    return true;
  };
  assert.deepEqual(await client.listTags(repositoryOn(registry)), []);
  for (body of ["", "[]", '{"tags":[1]}', '{"tags":["../x"]}', '{"tags":{}}', "null"]) {
    await assert.rejects(client.listTags(repositoryOn(registry)), { name: "FormatError" }, body);
  }
});
