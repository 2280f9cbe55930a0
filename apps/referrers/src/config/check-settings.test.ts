import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { faultText } from "@soci-ts/settings";
import { type GlobalFlags, readConfig } from "../config.ts";

function faultsOf(text: string, flags: GlobalFlags = {}): string[] {
  const { faults } = readConfig({ config: "/c.toml", ...flags }, { readFile: () => text });
  return faults.map((fault) => faultText(fault, "/c.toml"));
}

const TLS = '[tls]\ncertificate_file = "/crt"\nkey_file = "/key"\n';
const HTPASSWD = '[access]\nhtpasswd_file = "/htpasswd"\n';
const OPEN = 'listen = "0.0.0.0:443"\n';

describe("checkSettings()", () => {
  it("lets no other machine in without access control and encryption", () => {
    const both = faultsOf(OPEN);
    assert.match(both[0]!, /^\/c\.toml:1: listen is 0\.0\.0\.0:443, which other machines reach/);
    assert.match(both[0]!, /everyone could push and delete; and \[tls\].*--insecure-listen-any$/);
    assert.match(faultsOf(OPEN + TLS)[0]!, /want \[access\] htpasswd_file, or everyone/);
    assert.match(faultsOf(OPEN + HTPASSWD)[0]!, /want \[tls\], or \[proxy\] trusted, or passwords/);
    assert.deepEqual(faultsOf(OPEN + TLS + HTPASSWD), []);
    assert.deepEqual(faultsOf(`${OPEN + HTPASSWD}[proxy]\ntrusted = ["10.0.0.1"]`), []);
    assert.deepEqual(faultsOf(`${OPEN + TLS}[[rules]]\nusers = ["anonymous"]`), []);
    assert.deepEqual(faultsOf(OPEN, { insecureListenAny: true }), []);
  });

  it("knows the loopback, and what only looks like it", () => {
    for (const listen of ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"]) {
      assert.deepEqual(faultsOf("", { listen }), [], listen);
    }
    for (const listen of [
      "[::]:1",
      "127.0.0.1.example.com:1",
      "[::ffff:127.0.0.1]:1",
      "10.0.0.1:1",
    ]) {
      assert.match(faultsOf("", { listen })[0]!, /^--listen is /, listen);
    }
  });

  const rows: [text: string, fault: string][] = [
    ['[tls]\nkey_file = "/key"', "/c.toml:1: tls.certificate_file is missing: tls.key_file does"],
    ['[issuer]\nname = "i"', "/c.toml:1: issuer.realm is missing: issuer.name does nothing"],
    [
      `${HTPASSWD}[[rules]]\nusers = ["@dev"]`,
      "/c.toml:4: rules.0.users has @dev, want a name of [[groups]]",
    ],
    ['[[rules]]\nusers = ["anna"]', "/c.toml:2: rules.0.users has anna, who can't log in"],
    [
      `${HTPASSWD}[[groups]]\nname = "a"\n[[groups]]\nname = "a"`,
      "/c.toml:6: groups.1.name is a, as that of another",
    ],
  ];
  for (const [text, fault] of rows) {
    it(`reports ${fault.slice(8, 60)}`, () => {
      assert.ok(faultsOf(text)[0]?.startsWith(fault), faultsOf(text)[0]);
    });
  }
});
