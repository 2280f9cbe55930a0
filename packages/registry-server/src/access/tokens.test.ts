import assert from "node:assert/strict";
import { createSign, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { freshFolder } from "../testing/harness.ts";
import { readClaims } from "./claims.ts";
import { isSignedByIssuer, parseIssuerKeys } from "./issuer-keys.ts";
import { decodeToken, signToken } from "./jwt.ts";
import { parseScopes } from "./scopes.ts";
import { TokenKeys } from "./token-keys.ts";
import { OwnTokens } from "./tokens.ts";

const LIFETIME_MS = 300_000;
const DAY_MS = 86_400_000;
const GRANTS = parseScopes(["repository:a:pull"]);

async function withKeys(): Promise<AsyncDisposable & { path: string; keys: TokenKeys }> {
  const folder = await freshFolder();
  const path = join(folder.path, "token-keys.json");
  const keys = await TokenKeys.open(path, LIFETIME_MS, silentLogger);
  return { path, keys, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe("OwnTokens", () => {
  it("verifies what it issued, until it expires", async () => {
    await using own = await withKeys();
    const tokens = new OwnTokens(own.keys, "svc", LIFETIME_MS);
    const { token, issuedMs } = tokens.issue("anna", GRANTS);
    const decoded = decodeToken(token)!;
    const claims = tokens.verify(decoded);
    assert.equal(claims!.user, "anna");
    assert.deepEqual([...claims!.grants.get("a")!], ["pull"]);
    assert.ok(tokens.verify(decoded, issuedMs + LIFETIME_MS - 1));
    assert.equal(tokens.verify(decoded, issuedMs + LIFETIME_MS), undefined);
    assert.equal(tokens.verify(decoded, issuedMs - 1000), undefined);
    assert.equal(
      tokens.verify(decodeToken(tokens.issue(undefined, GRANTS).token)!)!.user,
      undefined,
    );
  });

  it("lasts whole seconds", async () => {
    await using own = await withKeys();
    const { lifetimeMs, token } = new OwnTokens(own.keys, "svc", 90_500).issue("anna", GRANTS);
    assert.equal(lifetimeMs, 90_000);
    assert.ok(Number.isInteger(decodeToken(token)!.payload["exp"]));
  });

  it("refuses a token with any one character changed or cut off", async () => {
    await using own = await withKeys();
    const tokens = new OwnTokens(own.keys, "svc", LIFETIME_MS);
    const { token } = tokens.issue("anna", GRANTS);
    const isGood = (text: string): boolean => {
      const decoded = decodeToken(text);
      return decoded !== undefined && tokens.verify(decoded) !== undefined;
    };
    for (let at = 0; at < token.length; at += 1) {
      // The last character of a part may hold bits that count for nothing.
      const isLast = at + 1 === token.length;
      const other = token[at] === "A" ? "z" : "A";
      if (!isLast) assert.ok(!isGood(token.slice(0, at) + other + token.slice(at + 1)), String(at));
      assert.ok(!isGood(token.slice(0, at)), `cut at ${at}`);
    }
  });

  it("refuses tokens of another service, of another key, and with another algorithm", async () => {
    await using own = await withKeys();
    await using foreign = await withKeys();
    const tokens = new OwnTokens(own.keys, "svc", LIFETIME_MS);
    const refused = [
      new OwnTokens(own.keys, "other", LIFETIME_MS).issue("anna", GRANTS).token,
      new OwnTokens(foreign.keys, "svc", LIFETIME_MS).issue("anna", GRANTS).token,
      signToken({ iss: "svc", aud: "svc", exp: 1e10 }, Buffer.alloc(32), own.keys.newest.id),
    ];
    const [, payload] = tokens.issue("anna", GRANTS).token.split(".");
    const header = Buffer.from(JSON.stringify({ alg: "none", kid: own.keys.newest.id }));
    refused.push(`${header.toString("base64url")}.${payload}.AA`);
    for (const token of refused) assert.equal(tokens.verify(decodeToken(token)!), undefined);
  });
});

describe("TokenKeys", () => {
  it("are made with mode 0600, and are the same after a restart", async () => {
    await using own = await withKeys();
    assert.equal(statSync(own.path).mode % 0o1000, 0o600);
    const again = await TokenKeys.open(own.path, LIFETIME_MS, silentLogger);
    assert.deepEqual(again.newest.id, own.keys.newest.id);
    assert.deepEqual(Buffer.from(again.newest.secret), Buffer.from(own.keys.newest.secret));
  });

  it("are rotated after 30 days, and the one before goes when its tokens are over", async () => {
    await using own = await withKeys();
    const first = own.keys.newest;
    own.keys.rotate(first.createdMs + 29 * DAY_MS);
    assert.equal(own.keys.newest.id, first.id);
    const later = first.createdMs + 30 * DAY_MS;
    own.keys.rotate(later);
    assert.notEqual(own.keys.newest.id, first.id);
    assert.ok(own.keys.find(first.id));
    own.keys.rotate(later + LIFETIME_MS - 1);
    assert.ok(own.keys.find(first.id));
    own.keys.rotate(later + LIFETIME_MS);
    assert.equal(own.keys.find(first.id), undefined);
    assert.equal((JSON.parse(readFileSync(own.path, "utf8")) as { keys: [] }).keys.length, 1);
  });

  it("are not read from a damaged file", async () => {
    await using own = await withKeys();
    for (const text of [
      "",
      "[]",
      '{"keys":[{}]}',
      '{"keys":[{"id":"a","secret":"AA","createdMs":1}]}',
    ]) {
      writeFileSync(own.path, text);
      await assert.rejects(TokenKeys.open(own.path, LIFETIME_MS, silentLogger), {
        code: "data_loss",
        message: /remove the file/,
      });
    }
  });

  it("live in memory where they can't be written", async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => warnings.push(message) };
    const keys = await TokenKeys.open("/proc/token-keys.json", LIFETIME_MS, logger);
    assert.ok(keys.newest.secret.length === 32);
    assert.equal(warnings.length, 1);
  });
});

function issue(key: KeyObject, alg: string, kid?: string): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg, ...(kid && { kid }) })}.${encode({ iss: "i" })}`;
  const signature =
    alg === "EdDSA"
      ? sign(null, Buffer.from(signed), key)
      : createSign(`sha${alg.slice(2)}`)
          .update(signed)
          .sign({ key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

describe("isSignedByIssuer()", () => {
  const ec = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const ed = generateKeyPairSync("ed25519");
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();
  const jwk = (key: KeyObject, kid: string) => ({ ...key.export({ format: "jwk" }), kid });
  const isSigned = (token: string, keys: string) =>
    isSignedByIssuer(decodeToken(token)!, parseIssuerKeys(keys));

  it("takes keys in PEM and in a JWK set, of every kind", () => {
    const pems = [ec, ed, rsa].map(({ publicKey }) => pem(publicKey)).join("\n");
    const set = JSON.stringify({
      keys: [jwk(ec.publicKey, "ec"), jwk(ed.publicKey, "ed"), jwk(rsa.publicKey, "rsa")],
    });
    for (const keys of [pems, set]) {
      assert.ok(isSigned(issue(ec.privateKey, "ES256"), keys));
      assert.ok(isSigned(issue(ed.privateKey, "EdDSA", "ed"), keys));
      assert.ok(isSigned(issue(rsa.privateKey, "RS256", "rsa"), keys));
    }
    assert.ok(!isSigned(issue(ec.privateKey, "ES256", "other"), set));
  });

  it("refuses other keys, and a public key that is taken for a secret", () => {
    const keys = pem(rsa.publicKey);
    assert.ok(!isSigned(issue(ec.privateKey, "ES256"), keys));
    assert.ok(!isSigned(signToken({ iss: "i" }, Buffer.from(keys), "k"), keys));
    const another = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    assert.ok(!isSigned(issue(another.privateKey, "ES256"), pem(ec.publicKey)));
  });

  it("refuses files with no keys, with weak ones, and with something else", () => {
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 });
    for (const text of ["", "x", "{}", '{"keys":[{"kty":"oct","k":"AA"}]}', pem(weak.publicKey)]) {
      assert.throws(() => parseIssuerKeys(text), { code: "invalid_argument" });
    }
  });
});

describe("readClaims()", () => {
  const wanted = { issuer: "i", audience: "svc", leewayMs: 1000 };
  const good = { iss: "i", aud: ["x", "svc"], exp: 100, nbf: 10, sub: "u", access: [] };
  const rows: [name: string, payload: object, isGood: boolean][] = [
    ["a good one", good, true],
    ["one audience as a text", { ...good, aud: "svc" }, true],
    ["another issuer", { ...good, iss: "j" }, false],
    ["another audience", { ...good, aud: ["x"] }, false],
    ["no audience", { ...good, aud: undefined }, false],
    ["no expiry", { ...good, exp: undefined }, false],
    ["an expiry that is no number", { ...good, exp: "100" }, false],
    ["one that is over", { ...good, exp: 48 }, false],
    ["one that is not valid yet", { ...good, nbf: 52 }, false],
    ["one within the leeway", { ...good, exp: 49.5, nbf: 50.5 }, true],
  ];
  for (const [name, payload, isGood] of rows) {
    it(`${isGood ? "takes" : "refuses"} ${name}`, () => {
      assert.equal(readClaims({ ...payload }, wanted, 50_000) !== undefined, isGood);
    });
  }

  it("passes over what is odd in access", () => {
    const access = [
      5,
      { type: "registry", name: "catalog", actions: ["*"] },
      { type: "repository", name: "a", actions: ["pull", 5] },
      { type: "repository", name: "a", actions: ["push"] },
      { type: "repository", name: "b", actions: "pull" },
    ];
    const { grants } = readClaims({ ...good, access }, wanted, 50_000)!;
    assert.deepEqual([...grants], [["a", new Set(["pull", "push"])]]);
  });
});

describe("decodeToken()", () => {
  it("refuses what is no token", () => {
    const part = Buffer.from("[]").toString("base64url");
    for (const text of ["", "a", "a.b", "a.b.c", "..", `${part}.${part}.AA`, "a".repeat(20_000)]) {
      assert.equal(decodeToken(text), undefined);
    }
  });
});
