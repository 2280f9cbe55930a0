import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { basic, bearer, type Guarded, openGuarded } from "../testing/guarded.ts";
import { type Answer, ask, pieces } from "../testing/harness.ts";
import { decodeToken } from "./jwt.ts";

const RULES = [
  { repositories: ["team/*"], users: ["anna"], allow: ["pull", "push"] as const },
  { repositories: ["open/*"], users: ["anonymous"], allow: ["pull"] as const },
];
const openTokens = (): Promise<Guarded> => openGuarded({ users: ["anna"], rules: RULES });

interface TokenDocument {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  readonly scope: string;
}

const documentOf = (answer: Answer) => JSON.parse(answer.bytes.toString()) as TokenDocument;

function post(guarded: Guarded, form: Record<string, string>): Promise<Answer> {
  const body = Buffer.from(new URLSearchParams(form).toString());
  return ask(guarded.access.tokens!, "POST", "/token", { body });
}

describe("TokenEndpoint", () => {
  it("issues what was asked and is allowed, by GET and by the form of OAuth 2", async () => {
    await using guarded = await openTokens();
    const scope = "repository:team/a:pull,push,delete repository:other:pull";
    const query = new URLSearchParams({ service: "svc", scope, account: "anna" });
    const headers = basic("anna");
    const got = await ask(guarded.access.tokens!, "GET", `/token?${query}`, { headers });
    const form = {
      grant_type: "password",
      service: "svc",
      client_id: "containerd",
      scope,
      username: "anna",
      password: "annaanna",
    };
    for (const answer of [got, await post(guarded, form)]) {
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["Cache-Control"], "no-store");
      const document = documentOf(answer);
      assert.equal(document.token, document.access_token);
      assert.equal(document.expires_in, 300);
      assert.ok(Math.abs(Date.parse(document.issued_at) - Date.now()) < 5_000);
      assert.equal(document.scope, "repository:team/a:pull,push");
      const { payload } = decodeToken(document.token)!;
      assert.equal(payload["sub"], "anna");
      assert.deepEqual(payload["access"], [
        { type: "repository", name: "team/a", actions: ["pull", "push"] },
      ]);
    }
  });

  it("gives nobody in particular a token with what anybody may do", async () => {
    await using guarded = await openTokens();
    const url = "/token?scope=repository:open/a:pull,push&scope=repository:team/a:pull";
    const answer = await ask(guarded.access.tokens!, "GET", url);
    assert.equal(documentOf(answer).scope, "repository:open/a:pull");
    assert.equal(decodeToken(documentOf(answer).token)!.payload["sub"], "");
  });

  it("refuses wrong credentials with a challenge, and everything that is no request for a token", async () => {
    await using guarded = await openTokens();
    const { tokens } = guarded.access;
    for (const headers of [basic("anna", "x"), basic("eve"), bearer("x"), { authorization: "" }]) {
      const answer = await ask(tokens!, "GET", "/token", { headers });
      assert.equal(answer.status, 401);
      assert.equal(answer.headers["WWW-Authenticate"], 'Basic realm="svc", charset="UTF-8"');
    }
    const own = await guarded.token("anna");
    assert.equal((await ask(tokens!, "GET", "/token", { headers: bearer(own) })).status, 401);
    assert.equal((await post(guarded, { grant_type: "password", username: "anna" })).status, 401);
    assert.equal((await post(guarded, { grant_type: "refresh_token" })).status, 401);
    assert.equal((await ask(tokens!, "DELETE", "/token")).status, 405);
    const endless = async function* () {
      for (;;) yield Buffer.alloc(1000, "a");
    };
    assert.equal((await ask(tokens!, "POST", "/token", { body: endless() })).status, 400);
    const binary = pieces(Buffer.from([0xff, 0xfe, 0x00]));
    assert.equal((await ask(tokens!, "POST", "/token", { body: binary })).status, 401);
  });
});
