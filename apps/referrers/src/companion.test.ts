import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import { type FaultProxy, startFaultProxy } from "@soci-ts/testkit";
import { readConfig } from "./config.ts";
import { testConfig } from "./testing/config.ts";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Service, startService } from "./wire.ts";

interface Chain extends AsyncDisposable {
  readonly upstream: Service;
  readonly proxy: FaultProxy;
  readonly companion: Service;
}

/** A registry, a link that counts, and a companion before it. */
async function startChain(more = ""): Promise<Chain> {
  await using resources = new DisposeStack();
  const folders = [resources.use(await freshFolder()), resources.use(await freshFolder())];
  const upstream = resources.use(await startService(testConfig(folders[0]!.path)));
  const proxy = resources.use(await startFaultProxy(new URL(upstream.url).host));
  const text = `[[upstreams]]\nname = "up.test"\nurl = "http://${proxy.host}"\n${more}`;
  const companion = resources.use(await startService(testConfig(folders[1]!.path, text)));
  const running = resources.move();
  const close = (): Promise<void> => running[Symbol.asyncDispose]();
  return { upstream, proxy, companion, [Symbol.asyncDispose]: close };
}

async function pushBlob(url: string, bytes: Buffer): Promise<string> {
  const digest = digestOf(bytes);
  const path = `/v2/team/app/blobs/uploads/?digest=${digest}`;
  assert.equal((await ask(url, "POST", path, { body: bytes })).status, 201);
  return `/v2/team/app/blobs/${digest}`;
}

describe("a companion over HTTP", () => {
  it("moves a blob to the upstream, and once back for 20 clients", async () => {
    await using chain = await startChain();
    const bytes = randomBytes(2_000_000);
    const path = await pushBlob(chain.companion.url, bytes);
    assert.equal((await ask(chain.upstream.url, "HEAD", path)).status, 200);
    const { bytesSent } = chain.proxy;
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => ask(chain.companion.url, "GET", `${path}?ns=up.test`)),
    );
    for (const answer of answers) assert.ok(answer.bytes.equals(bytes));
    assert.equal(chain.proxy.bytesSent - bytesSent, bytes.length);
    const head = await ask(chain.companion.url, "HEAD", path);
    assert.equal(head.headers["content-length"], String(bytes.length));
    const told = (await ask(chain.companion.url, "GET", "/metrics")).bytes.toString();
    const metric = (name: string): number =>
      Number(new RegExp(`^soci_referrers_${name} (\\d+)$`, "m").exec(told)?.[1]);
    assert.equal(metric("upstream_received_bytes_total"), bytes.length);
    assert.equal(metric("cache_bytes"), bytes.length);
    assert.ok(metric("upstream_requests_total") >= 2);
    assert.equal(metric("upstream_failures_total"), 0);
    assert.equal(metric("unknown_metrics_total"), 0);
    const part = await ask(chain.companion.url, "GET", path, { headers: { range: "bytes=-5" } });
    assert.equal(part.status, 206);
    assert.ok(part.bytes.equals(bytes.subarray(-5)));
  });

  it("cuts the connection of a client that would get wrong content", async () => {
    await using chain = await startChain();
    const path = await pushBlob(chain.upstream.url, randomBytes(500_000));
    chain.proxy.rule = () => ({ kind: "flip", atByte: 3 });
    await assert.rejects(ask(chain.companion.url, "GET", path), { code: "ECONNRESET" });
  });

  it("lets its rules decide where it logs in by itself", async () => {
    const rules = '[[rules]]\nrepositories = ["team/*"]\nusers = ["anonymous"]\nallow = ["pull"]\n';
    await using chain = await startChain(`login = "companion"\n${rules}`);
    const bytes = randomBytes(1000);
    const path = await pushBlob(chain.upstream.url, bytes);
    assert.ok((await ask(chain.companion.url, "GET", path)).bytes.equals(bytes));
    const upload = "/v2/team/app/blobs/uploads/";
    assert.equal((await ask(chain.companion.url, "POST", upload)).status, 401);
    const elsewhere = path.replace("team/app", "other/app");
    assert.equal((await ask(chain.companion.url, "GET", elsewhere)).status, 401);
    assert.deepEqual(
      chain.proxy.requests.map(({ method }) => method),
      ["GET"],
    );
  });

  it("stops while a transfer is under way", async () => {
    await using chain = await startChain();
    const path = await pushBlob(chain.upstream.url, randomBytes(500_000));
    chain.proxy.rule = () => ({ kind: "stall", afterBytes: 1000 });
    const asked = ask(chain.companion.url, "GET", path, { headers: { range: "bytes=0-9" } });
    assert.equal((await asked).bytes.length, 10);
    const started = performance.now();
    await chain.companion[Symbol.asyncDispose]();
    assert.ok(performance.now() - started < 5_000);
  });
});

describe("the configuration of upstreams", () => {
  const faults = (text: string): string[] =>
    readConfig({ config: "f.toml" }, { readFile: () => text }).faults.map(
      ({ path, message }) => `${path} ${message}`,
    );
  const rows: readonly [name: string, text: string, fault: RegExp | undefined][] = [
    ["a name is enough", '[[upstreams]]\nname = "docker.io"', undefined],
    [
      "read-only",
      'mode = "read-only"\n[[upstreams]]\nname = "a"',
      /^mode is read-only, want read-/,
    ],
    ["no name", "[[upstreams]]", /^upstreams\.0\.name is "", want host/],
    ["a path", '[[upstreams]]\nname = "a.b/c"', /^upstreams\.0\.name is "a\.b\/c", want host/],
    ["twice", '[[upstreams]]\nname = "a"\n[[upstreams]]\nname = "a"', /is a, as that of another/],
    [
      "clients' logins where there is access control",
      '[[upstreams]]\nname = "a"\n[[rules]]\nusers = ["anonymous"]',
      /^upstreams\.0\.login is client, want "companion"/,
    ],
    [
      "logins that nobody uses",
      '[[upstreams]]\nname = "a"\ndocker_config_files = ["/x"]',
      /^upstreams\.0\.docker_config_files does nothing/,
    ],
    ["an own login", '[[upstreams]]\nname = "a"\nlogin = "companion"', undefined],
  ];
  for (const [name, text, fault] of rows) {
    it(`${fault === undefined ? "takes" : "refuses"} ${name}`, () => {
      const found = faults(text);
      if (fault === undefined) assert.deepEqual(found, []);
      else assert.match(found[0] ?? "", fault);
    });
  }
});
