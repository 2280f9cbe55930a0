import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { serviceMetrics } from "./metrics.ts";
import { METRICS } from "./metrics-table.ts";
import { openApiDocument } from "./openapi.ts";
import { testConfig } from "./testing/config.ts";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Service, startService } from "./wire.ts";

interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly responses: Record<string, { content?: object }> }>>
    >
  >;
}

/** Turns access control on, and with it the token server. */
const HTPASSWD = "anna:$2y$04$84I9gSUGEVpefAT8GHIYDeIyG2DDo0aefYyPVTvDiHg/XRRqOONs2\n";

let folder: Awaited<ReturnType<typeof freshFolder>>;
let service: Service;

before(async () => {
  folder = await freshFolder();
  service = await startService(testConfig(folder.path));
});
after(async () => {
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const metricsText = async (): Promise<string> =>
  (await ask(service.url, "GET", "/metrics")).bytes.toString();

describe("/openapi.json", () => {
  it("describes exactly the routes that there are, and what they answer", async () => {
    await using other = await freshFolder();
    const users = join(other.path, "htpasswd");
    writeFileSync(users, HTPASSWD);
    await using all = await startService(
      testConfig(join(other.path, "root"), `[access]\nhtpasswd_file = "${users}"`),
    );
    const answer = await ask(all.url, "GET", "/openapi.json");
    assert.equal(answer.headers["content-type"], "application/json");
    const document = JSON.parse(answer.bytes.toString()) as OpenApi;
    assert.match(document.openapi, /^3\.1\./);
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    assert.deepEqual(described.sort(), [...all.routes].sort());
    for (const line of all.routes) {
      const [method = "", path = ""] = line.split(" ");
      const got = await ask(all.url, method, path);
      const response = document.paths[path]?.[method.toLowerCase()]?.responses[String(got.status)];
      assert.ok(response, `${line} answered ${got.status}`);
      const types = Object.keys(response.content ?? {});
      const type = got.headers["content-type"]?.split(";")[0] ?? "";
      if (types.length > 0) assert.ok(types.includes(type), `${line} answered ${type}`);
      if (method === "HEAD") assert.equal(got.bytes.length, 0);
    }
  });

  it("names every operation once, and only schemas that it has", () => {
    const text = JSON.stringify(openApiDocument("1.2.3"));
    const ids = [...text.matchAll(/"operationId":"(\w+)"/g)].map(([, id]) => id);
    assert.equal(new Set(ids).size, ids.length);
    for (const [, name] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) {
      assert.match(text, new RegExp(`"${name}":\\{"description"`));
    }
  });
});

describe("errors", () => {
  const problems: [method: string, path: string, status: number][] = [
    ["GET", "/", 404],
    ["GET", "/nothing?token=secret", 404],
    ["GET", "/%zz", 400],
    ["POST", "/healthz", 405],
    ["DELETE", "/metrics?x=1", 405],
    ["GET", "/v3/x", 404],
    ["GET", "/v2x", 404],
  ];
  for (const [method, path, status] of problems) {
    it(`are problem documents outside /v2: ${method} ${path}`, async () => {
      const answer = await ask(service.url, method, path);
      assert.equal(answer.status, status);
      assert.equal(answer.headers["content-type"], "application/problem+json");
      const problem = JSON.parse(answer.bytes.toString()) as Record<string, unknown>;
      assert.deepEqual(Object.keys(problem), ["type", "title", "status", "detail"]);
      assert.equal(problem["status"], status);
      assert.ok(!answer.bytes.toString().includes("secret"));
      if (status === 405) assert.equal(answer.headers["allow"], "GET, HEAD");
    });
  }

  it("are the specification's below /v2", async () => {
    for (const path of ["/v2/%zz", "/v2/x", "/v2/a/blobs/x"]) {
      const answer = await ask(service.url, "GET", path);
      assert.equal(answer.headers["content-type"]?.split(";")[0], "application/json");
      const { errors } = JSON.parse(answer.bytes.toString()) as { errors: { code: string }[] };
      assert.ok(errors[0]?.code);
    }
  });
});

describe("/metrics", () => {
  it("counts requests by method, kind and status, and what they moved", async () => {
    const bytes = Buffer.alloc(100_000, "x");
    const path = `/v2/some/name/blobs/uploads/?digest=${digestOf(bytes)}`;
    assert.equal((await ask(service.url, "POST", path, { body: bytes })).status, 201);
    await ask(service.url, "GET", `/v2/some/name/blobs/${digestOf(bytes)}`);
    const text = await metricsText();
    const count = (labels: string): number =>
      Number(
        new RegExp(`^soci_referrers_requests_total\\{${labels}\\} (\\d+)$`, "m").exec(text)?.[1],
      );
    assert.equal(count('method="POST",route="uploads",status="201"'), 1);
    assert.equal(count('method="GET",route="blob",status="200"'), 1);
    for (const name of ["received", "sent"]) {
      const moved = new RegExp(`^soci_referrers_${name}_bytes_total (\\d+)$`, "m").exec(text)?.[1];
      assert.ok(Number(moved) >= 100_000 && Number(moved) < 150_000, `${name} ${moved}`);
    }
    assert.match(text, /^soci_referrers_free_bytes [1-9]/m);
    assert.match(text, /^soci_referrers_read_only 0$/m);
    assert.match(text, /^soci_referrers_requests_under_way 1$/m);
    assert.match(text, /^soci_referrers_unknown_metrics_total 0$/m);
    assert.ok(!text.includes("some/name"));
  });

  it("counts clients that leave before the end", async () => {
    const bytes = Buffer.alloc(20_000_000, "x");
    const path = `/v2/big/blobs/uploads/?digest=${digestOf(bytes)}`;
    await ask(service.url, "POST", path, { body: bytes });
    await new Promise<void>((resolve) => {
      const outgoing = request(`${service.url}/v2/big/blobs/${digestOf(bytes)}`, (response) => {
        response.once("data", () => response.destroy());
        response.once("close", resolve);
      });
      outgoing.on("error", () => {}).end();
    });
    const aborted =
      /^soci_referrers_requests_total\{method="GET",route="blob",status="aborted"\} 1$/m;
    for (let tries = 0; !aborted.test(await metricsText()); tries += 1) assert.ok(tries < 500);
    assert.match(await metricsText(), /^soci_referrers_requests_under_way 1$/m);
  });

  it("counts garbage collections", async () => {
    service.collectGarbage();
    const done = /^soci_referrers_gc_runs_total\{outcome="done"\} 1$/m;
    for (let tries = 0; !done.test(await metricsText()); tries += 1) assert.ok(tries < 500);
  });

  it("has names with units, help texts, and closed sets of labels", () => {
    for (const [name, { type, help, labels, buckets }] of Object.entries(METRICS)) {
      assert.match(name, /^soci_referrers_[a-z_]+$/);
      if (type === "counter") assert.match(name, /_total$/);
      if (type === "histogram") assert.ok(name.endsWith("_seconds") && buckets, name);
      assert.match(help, /[.0]$/, name);
      for (const values of Object.values(labels ?? {})) assert.ok(values.length <= 32, name);
    }
  });
});

describe("serviceMetrics()", () => {
  it("keeps the number of series closed, and survives slips", async () => {
    const metrics = serviceMetrics();
    for (let at = 0; at < 50; at += 1) {
      metrics.count("soci_referrers_gc_removed_total", 1, { kind: `sha256:${at}`, image: "x" });
    }
    metrics.count("soci_nonsense_total");
    metrics.count("soci_referrers_sent_bytes_total", -1);
    metrics.set("soci_referrers_free_bytes", Number.NaN);
    metrics.observe("soci_referrers_nonsense_seconds", 1);
    const text = await metrics.text();
    assert.match(text, /^soci_referrers_gc_removed_total\{kind="other"\} 50$/m);
    assert.match(text, /^soci_referrers_unknown_metrics_total 4$/m);
  });
});

describe("/readyz", () => {
  it("says why not once the blobs are out of reach", async () => {
    await using other = await freshFolder();
    await using broken = await startService(testConfig(other.path));
    assert.equal((await ask(broken.url, "GET", "/readyz")).status, 200);
    await other[Symbol.asyncDispose]();
    const answer = await ask(broken.url, "GET", "/readyz");
    assert.equal(answer.status, 503);
    assert.equal(answer.headers["content-type"], "application/problem+json");
    assert.ok(!answer.bytes.toString().includes(other.path));
    assert.equal((await ask(broken.url, "GET", "/healthz")).status, 200);
  });
});
