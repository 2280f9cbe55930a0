import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { testConfig } from "./testing/config.ts";
import { type Ask, ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Service, startService } from "./wire.ts";

/** The password is anna-password. */
const HTPASSWD = "anna:$2y$04$84I9gSUGEVpefAT8GHIYDeIyG2DDo0aefYyPVTvDiHg/XRRqOONs2\n";
const ANNA = { authorization: `Basic ${Buffer.from("anna:anna-password").toString("base64")}` };

let folder: Awaited<ReturnType<typeof freshFolder>>;
let service: Service;

before(async () => {
  folder = await freshFolder();
  writeFileSync(join(folder.path, "htpasswd"), HTPASSWD);
  service = await startService(
    testConfig(
      folder.path,
      `
[proxy]
trusted = ["127.0.0.1"]
[access]
htpasswd_file = "${folder.path}/htpasswd"
[[quotas]]
repositories = ["small"]
max_bytes = 100000
`,
    ),
  );
});
after(async () => {
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const send = (method: string, path: string, options?: Ask) =>
  ask(service.url, method, path, options);

describe("access control over HTTP", () => {
  it("issues tokens at /token, by both methods, and takes them", async () => {
    const scope = "repository:a:pull";
    const got = await send("GET", `/token?scope=${scope}`, { headers: ANNA });
    const form = `grant_type=password&username=anna&password=anna-password&scope=${scope}`;
    const posted = await send("POST", "/token", {
      body: Buffer.from(form),
      headers: { "content-type": "application/x-www-form-urlencoded; charset=utf-8" },
    });
    for (const answer of [got, posted]) {
      assert.equal(answer.status, 200);
      const { token } = JSON.parse(answer.bytes.toString()) as { token: string };
      const headers = { authorization: `Bearer ${token}` };
      assert.equal((await send("GET", "/v2/", { headers })).status, 200);
      assert.equal((await send("GET", "/v2/a/tags/list", { headers })).status, 404);
      assert.equal((await send("GET", "/v2/b/tags/list", { headers })).status, 401);
    }
  });

  it("names the token server as the client reaches it, through a proxy too", async () => {
    const realmOf = async (headers: Record<string, string>) => {
      const answer = await send("GET", "/v2/", { headers });
      assert.equal(answer.status, 401);
      return /realm="([^"]*)"/.exec(answer.headers["www-authenticate"] ?? "")?.[1];
    };
    assert.equal(await realmOf({}), `${service.url}/token`);
    const proxied = { host: "registry.example", "x-forwarded-proto": "https" };
    assert.equal(await realmOf(proxied), "https://registry.example/token");
  });

  it("refuses a body beyond the quota so that the client sees it, on a connection that goes on", async () => {
    const bytes = randomBytes(2_000_000);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const path = `/v2/small/blobs/uploads/?digest=${digestOf(bytes)}`;
    const chunked = { ...ANNA, "transfer-encoding": "chunked" };
    for (const headers of [ANNA, chunked]) {
      const answer = await send("POST", path, { body: bytes, headers, agent });
      assert.equal(answer.status, 413);
    }
    assert.equal((await send("GET", "/v2/", { headers: ANNA, agent })).status, 200);
    agent.destroy();
  });
});

describe("paths beside /v2 and /token", () => {
  it("are for who is logged in or asks from the machine itself", async () => {
    const forwarded = { "x-forwarded-for": "198.51.100.9" };
    const refused = await send("GET", "/metrics", { headers: forwarded });
    assert.equal(refused.status, 401);
    assert.match(refused.headers["www-authenticate"]!, /^Basic /);
    assert.match(refused.headers["content-type"]!, /^application\/problem\+json/);
    const wrong = { authorization: "Basic eDp5", ...forwarded };
    assert.equal((await send("GET", "/none/at/all?x", { headers: wrong })).status, 401);
    assert.equal((await send("GET", "/none", { headers: { ...ANNA, ...forwarded } })).status, 404);
    assert.equal((await send("GET", "/none")).status, 404);
    assert.notEqual((await send("GET", "/healthz", { headers: forwarded })).status, 401);
  });
});

describe("a service without access control", () => {
  it("has no token server", async () => {
    await using own = await freshFolder();
    await using open = await startService(testConfig(own.path));
    assert.equal((await ask(open.url, "GET", "/token")).status, 404);
    assert.equal((await ask(open.url, "GET", "/v2/", { headers: ANNA })).status, 200);
  });
});
