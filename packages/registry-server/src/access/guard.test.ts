import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { askAs, basic, bearer, type Guarded, openGuarded } from "../testing/guarded.ts";
import { ask, codes, freshFolder, manifestOf, putBlob, putManifest } from "../testing/harness.ts";
import type { AccessRule } from "./rules.ts";

const BLOB = Buffer.from("some bytes");
const DIGEST = sha256(BLOB);
const ABSENT = sha256(Buffer.from("absent"));
const RULES: AccessRule[] = [
  { repositories: ["open/*"], users: ["anonymous"], allow: ["pull"] },
  { repositories: ["*"], users: ["reader"], allow: ["pull"] },
  { repositories: ["team/*"], users: ["writer"], allow: ["pull", "push"] },
  { repositories: ["drop/*"], users: ["dropper"], allow: ["push"] },
  { repositories: ["*"], users: ["admin"], allow: ["pull", "push", "delete"] },
];
const USERS = ["reader", "writer", "dropper", "admin", "nobody"];

async function openFilled(): Promise<Guarded> {
  const guarded = await openGuarded({ users: USERS, rules: RULES });
  for (const repository of ["open/a", "team/a"]) {
    await putBlob(guarded.registry, repository, BLOB);
    await putManifest(guarded.registry, repository, manifestOf([DIGEST]), "v1");
  }
  return guarded;
}

describe("Guard", () => {
  it("lets everybody do everything where nothing is configured", async () => {
    await using open = await openGuarded();
    assert.equal(open.access.tokens, undefined);
    assert.equal((await ask(open.handler, "GET", "/v2/")).status, 200);
    const url = `/v2/r/blobs/uploads/?digest=${DIGEST}`;
    const headers = bearer("whatever");
    assert.equal((await ask(open.handler, "POST", url, { body: BLOB, headers })).status, 201);
  });

  it("gives who is logged in everything where there are no rules, and nobody else anything", async () => {
    await using guarded = await openGuarded({ users: ["anna"] });
    const url = `/v2/r/blobs/uploads/?digest=${DIGEST}`;
    assert.equal((await askAs(guarded, undefined, ["POST", url, { body: BLOB }])).status, 401);
    assert.equal((await askAs(guarded, "anna", ["POST", url, { body: BLOB }])).status, 201);
    assert.equal((await askAs(guarded, "anna", ["DELETE", `/v2/r/blobs/${DIGEST}`])).status, 202);
    assert.equal((await ask(guarded.access.tokens!, "GET", "/token")).status, 401);
  });

  const upload = "/v2/team/a/blobs/uploads/";
  const rows: [who: string | undefined, method: string, url: string, status: number][] = [
    [undefined, "GET", "/v2/", 401],
    ["nobody", "GET", "/v2/", 200],
    [undefined, "GET", "/v2/open/a/manifests/v1", 200],
    [undefined, "HEAD", `/v2/open/a/blobs/${DIGEST}`, 200],
    [undefined, "GET", "/v2/open/a/tags/list", 200],
    [undefined, "GET", `/v2/open/a/referrers/${DIGEST}`, 200],
    [undefined, "PUT", "/v2/open/a/manifests/v2", 401],
    [undefined, "DELETE", "/v2/open/a/manifests/v1", 401],
    [undefined, "GET", "/v2/team/a/manifests/v1", 401],
    [undefined, "GET", "/v2/team/a/tags/list", 401],
    [undefined, "GET", `/v2/team/a/referrers/${DIGEST}`, 401],
    ["nobody", "GET", "/v2/team/a/manifests/v1", 403],
    ["nobody", "HEAD", "/v2/team/a/manifests/v1", 403],
    ["nobody", "GET", "/v2/open/a/manifests/v1", 200],
    ["reader", "GET", "/v2/team/a/manifests/v1", 200],
    ["reader", "POST", upload, 403],
    ["reader", "DELETE", "/v2/team/a/manifests/v1", 403],
    ["writer", "POST", upload, 202],
    ["writer", "DELETE", `/v2/team/a/blobs/${DIGEST}`, 403],
    ["writer", "POST", "/v2/other/blobs/uploads/", 403],
    ["dropper", "POST", "/v2/drop/x/blobs/uploads/", 202],
    ["dropper", "GET", `/v2/drop/x/blobs/${DIGEST}`, 403],
    ["admin", "GET", "/v2/no/such/tags/list", 404],
    [undefined, "GET", "/v2/UPPER/tags/list", 400],
    [undefined, "GET", "/v2/_nonsense", 404],
  ];
  it("checks every route by rules and names", async () => {
    await using guarded = await openFilled();
    for (const [who, method, url, status] of rows) {
      const answer = await askAs(guarded, who, [method, url]);
      assert.equal(answer.status, status, `${who} ${method} ${url}`);
      if (method === "HEAD") assert.equal(answer.bytes.length, 0);
      else if (status === 401) assert.deepEqual(codes(answer), ["UNAUTHORIZED"]);
      else if (status === 403) assert.deepEqual(codes(answer), ["DENIED"]);
    }
  });

  it("gives the same refusal whether something exists or not", async () => {
    await using guarded = await openFilled();
    const twins = [
      ["/v2/team/a/manifests/v1", "/v2/team/a/manifests/v9"],
      ["/v2/team/a/manifests/v1", "/v2/team/none/manifests/v1"],
      [`/v2/team/a/blobs/${DIGEST}`, `/v2/team/a/blobs/${ABSENT}`],
      ["/v2/team/a/tags/list", "/v2/team/none/tags/list"],
      [`/v2/team/a/referrers/${DIGEST}`, `/v2/team/none/referrers/${DIGEST}`],
    ] as const;
    for (const who of [undefined, "nobody"]) {
      for (const method of ["GET", "HEAD", "DELETE", "PUT"]) {
        for (const [there, absent] of twins) {
          const first = await askAs(guarded, who, [method, there]);
          const second = await askAs(guarded, who, [method, absent]);
          assert.deepEqual([first.status, first.bytes], [second.status, second.bytes]);
          const challenge = (answer: typeof first) => answer.headers["WWW-Authenticate"];
          assert.equal(
            challenge(first)?.replace("team/a", "team/none"),
            challenge(second)?.replace("team/a", "team/none"),
          );
        }
      }
    }
  });

  it("challenges with realm, service and scope, and says what is wrong with a token", async () => {
    await using guarded = await openFilled();
    const challengeOf = async (method: string, url: string, headers = {}) =>
      (await askAs(guarded, undefined, [method, url, { headers }])).headers["WWW-Authenticate"];
    const realm = 'Bearer realm="http://registry.example/token",service="svc"';
    assert.equal(await challengeOf("GET", "/v2/"), realm);
    assert.equal(
      await challengeOf("GET", "/v2/team/a/tags/list"),
      `${realm},scope="repository:team/a:pull"`,
    );
    assert.equal(
      await challengeOf("POST", "/v2/team/a/blobs/uploads/"),
      `${realm},scope="repository:team/a:pull,push"`,
    );
    assert.equal(
      await challengeOf("DELETE", "/v2/team/a/manifests/v1"),
      `${realm},scope="repository:team/a:delete"`,
    );
    assert.equal(
      await challengeOf("GET", "/v2/", bearer("x.y.z")),
      `${realm},error="invalid_token"`,
    );
    const pull = await guarded.token("writer", "repository:team/a:pull");
    assert.equal(
      await challengeOf("POST", "/v2/team/a/blobs/uploads/", bearer(pull)),
      `${realm},scope="repository:team/a:pull,push",error="insufficient_scope"`,
    );
    for (const header of [
      "Basic",
      "Basic !!",
      basic("writer", "wrong").authorization,
      "Digest a",
    ]) {
      const answer = await askAs(guarded, undefined, [
        "GET",
        "/v2/",
        { headers: { authorization: header } },
      ]);
      assert.equal(answer.status, 401, header);
      assert.equal(answer.headers["WWW-Authenticate"], realm);
    }
  });

  it("takes tokens for what they hold and the rules still allow", async () => {
    await using guarded = await openFilled();
    const statusOf = async (token: string, method: string, url: string) =>
      (await ask(guarded.handler, method, url, { headers: { host: "h", ...bearer(token) } }))
        .status;
    const push = await guarded.token(
      "writer",
      "repository:team/a:pull,push",
      "repository:other:push",
    );
    assert.equal(await statusOf(push, "POST", "/v2/team/a/blobs/uploads/"), 202);
    assert.equal(await statusOf(push, "GET", "/v2/team/b/tags/list"), 401);
    assert.equal(await statusOf(push, "POST", "/v2/other/blobs/uploads/"), 403);
    assert.equal(await statusOf(push, "GET", "/v2/"), 200);
    const all = await guarded.token("writer", "repository:team/a:*");
    assert.equal(await statusOf(all, "POST", "/v2/team/a/blobs/uploads/"), 202);
    assert.equal(await statusOf(all, "DELETE", `/v2/team/a/blobs/${DIGEST}`), 403);
    const nobody = await guarded.token(
      undefined,
      "repository:team/a:pull",
      "repository:open/a:pull",
    );
    assert.equal(await statusOf(nobody, "GET", "/v2/open/a/tags/list"), 200);
    assert.equal(await statusOf(nobody, "GET", "/v2/team/a/tags/list"), 401);
    writeFileSync(join(guarded.folder, "htpasswd"), "");
    guarded.access.reload();
    assert.equal(await statusOf(push, "POST", "/v2/team/a/blobs/uploads/"), 401);
    assert.equal(await statusOf(nobody, "GET", "/v2/open/a/tags/list"), 200);
  });

  it("takes the tokens of a token server elsewhere", async () => {
    await using folder = await freshFolder();
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const keysFile = join(folder.path, "issuer.pem");
    writeFileSync(keysFile, publicKey.export({ type: "spki", format: "pem" }));
    const realm = "https://auth.example/token";
    await using guarded = await openGuarded({ issuer: { realm, name: "auth", keysFile } });
    assert.equal(guarded.access.tokens, undefined);
    const refused = await askAs(guarded, undefined, ["GET", "/v2/a/tags/list"]);
    assert.match(
      refused.headers["WWW-Authenticate"]!,
      /^Bearer realm="https:\/\/auth\.example\/token"/,
    );
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const access = [{ type: "repository", name: "a", actions: ["push"] }];
    const exp = Date.now() / 1000 + 60;
    const signed = `${encode({ alg: "EdDSA" })}.${encode({ iss: "auth", aud: "svc", sub: "u", exp, access })}`;
    const token = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString("base64url")}`;
    const headers = bearer(token);
    const push = await askAs(guarded, undefined, ["POST", "/v2/a/blobs/uploads/", { headers }]);
    assert.equal(push.status, 202);
    const pull = await askAs(guarded, undefined, ["GET", "/v2/a/tags/list", { headers }]);
    assert.equal(pull.status, 401);
    assert.match(pull.headers["WWW-Authenticate"]!, /error="insufficient_scope"/);
  });

  it("has limits for clients and for users, and tells both when to come back", async () => {
    await using guarded = await openGuarded({
      users: ["anna", "bob"],
      clientRequestsPerSecond: 0.2,
      userRequestsPerSecond: 0.2,
      trustedProxies: ["192.0.2.1"],
    });
    const from = async (address: string, user: string, forwarded = address) => {
      const headers = { host: "h", ...basic(user), "x-forwarded-for": forwarded };
      const peer = { address, isSecure: false };
      return ask(guarded.handler, "GET", "/v2/", { headers, peer });
    };
    for (let at = 0; at < 2; at += 1) assert.equal((await from("192.0.2.5", "anna")).status, 200);
    const refused = await from("192.0.2.5", "bob");
    assert.equal(refused.status, 429);
    assert.deepEqual(codes(refused), ["TOOMANYREQUESTS"]);
    assert.match(refused.headers["Retry-After"]!, /^[345]$/);
    assert.equal((await from("192.0.2.6", "bob")).status, 200);
    assert.equal((await from("192.0.2.6", "anna")).status, 429);
    assert.equal((await from("192.0.2.5", "bob", "198.51.100.9")).status, 429);
    assert.equal((await from("192.0.2.1", "bob", "198.51.100.9")).status, 200);
  });
});

describe("a cross-repository mount", () => {
  const mounts: [who: string, query: string, status: number][] = [
    ["admin", `mount=${DIGEST}&from=team/a`, 201],
    ["admin", `mount=${DIGEST}`, 201],
    ["admin", `mount=${ABSENT}&from=team/a`, 202],
    ["dropper", `mount=${DIGEST}&from=secret/a`, 202],
    ["dropper", `mount=${DIGEST}&from=none/a`, 202],
    ["dropper", `mount=${DIGEST}`, 202],
    ["dropper", `mount=${DIGEST}&from=secret/a&digest=${DIGEST}`, 202],
    ["dropper", `mount=${DIGEST}&from=secret%2F..%2Fa`, 400],
  ];
  it("needs pull where the blob comes from; refused, it begins an upload as if nothing was there", async () => {
    await using guarded = await openGuarded({ users: USERS, rules: RULES });
    for (const repository of ["secret/a", "team/a"])
      await putBlob(guarded.registry, repository, BLOB);
    for (const [who, query, status] of mounts) {
      const answer = await askAs(guarded, who, ["POST", `/v2/drop/x/blobs/uploads/?${query}`]);
      assert.equal(answer.status, status, `${who} ${query}`);
      const there = await ask(guarded.registry, "HEAD", `/v2/drop/x/blobs/${DIGEST}`);
      assert.equal(there.status, status === 201 ? 200 : 404);
      await ask(guarded.registry, "DELETE", `/v2/drop/x/blobs/${DIGEST}`);
    }
  });

  it("without a source takes one that the sender may pull from", async () => {
    await using guarded = await openGuarded({ users: USERS, rules: RULES });
    await putBlob(guarded.registry, "secret/a", BLOB);
    const url = `/v2/drop/x/blobs/uploads/?mount=${DIGEST}`;
    assert.equal((await askAs(guarded, "dropper", ["POST", url])).status, 202);
    await putBlob(guarded.registry, "open/z", BLOB);
    assert.equal((await askAs(guarded, "dropper", ["POST", url])).status, 201);
  });
});

describe("the audit log", () => {
  it("says who did what from where, and never a credential", async () => {
    await using folder = await freshFolder();
    const file = join(folder.path, "audit.jsonl");
    await using guarded = await openGuarded({
      users: USERS,
      rules: RULES,
      audit: { file, withReads: false },
    });
    assert.equal(statSync(file).mode % 0o1000, 0o600);
    const lines = () =>
      readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const peer = { address: "192.0.2.9", isSecure: false };
    const headers = { "user-agent": `skopeo\n${"x".repeat(1000)}` };
    const push = `/v2/team/a/blobs/uploads/?digest=${DIGEST}`;
    await askAs(guarded, "writer", ["POST", push, { body: BLOB, peer, headers }]);
    await askAs(guarded, undefined, ["GET", "/v2/open/a/tags/list"]);
    await askAs(guarded, undefined, ["GET", "/v2/team/a/tags/list"]);
    await askAs(guarded, "nobody", ["GET", "/v2/team/a/manifests/v1"]);
    await askAs(guarded, undefined, ["GET", "/v2/", { headers: basic("hunter2name", "hunter2") }]);
    await guarded.token("writer", "repository:team/a:push");
    const [first, ...rest] = lines();
    const { time, userAgent, ...facts } = first!;
    assert.deepEqual(facts, {
      client: "192.0.2.9",
      user: "writer",
      action: "push",
      method: "POST",
      repository: "team/a",
      digest: DIGEST,
      status: 201,
    });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT/);
    assert.equal(String(userAgent).length, 256);
    assert.deepEqual(
      rest.map(({ user, action, target, status }) => [user, action, target, status]),
      [
        ["nobody", "pull", "v1", 403],
        [null, "ping", undefined, 401],
        ["writer", "login", undefined, 200],
      ],
    );
    assert.doesNotMatch(readFileSync(file, "utf8"), /hunter2|writerwriter|Basic|Bearer|eyJ/);
    renameSync(file, `${file}.1`);
    await askAs(guarded, "admin", ["DELETE", `/v2/team/a/blobs/${DIGEST}`]);
    guarded.access.reload();
    await askAs(guarded, "admin", ["DELETE", `/v2/team/a/blobs/${DIGEST}`]);
    assert.deepEqual(
      lines().map(({ action, target, status }) => [action, target, status]),
      [["delete", DIGEST, 404]],
    );
  });

  it("is not filled by who sends refused requests as fast as he can", async () => {
    await using folder = await freshFolder();
    const file = join(folder.path, "audit.jsonl");
    await using guarded = await openGuarded({
      users: USERS,
      rules: RULES,
      audit: { file, withReads: true },
    });
    const headers = bearer("x.y.z");
    for (let at = 0; at < 300; at += 1)
      await askAs(guarded, undefined, ["GET", "/v2/", { headers }]);
    assert.ok(readFileSync(file, "utf8").split("\n").length < 70);
  });
});
