import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RegistryRequest } from "../http.ts";
import { clientKey, ownUrl, TrustedProxies } from "./origin.ts";

function requestFrom(address: string, headers: Record<string, string> = {}): RegistryRequest {
  return {
    method: "GET",
    url: "/v2/",
    headers,
    body: (async function* () {})(),
    peer: { address, isSecure: false },
  };
}

const PROXIES = new TrustedProxies(["10.0.0.0/8", "::1", "192.0.2.7"]);

describe("TrustedProxies", () => {
  const rows: [peer: string, forwarded: string | undefined, address: string][] = [
    ["203.0.113.5", "198.51.100.1", "203.0.113.5"],
    ["10.0.0.1", undefined, "10.0.0.1"],
    ["10.0.0.1", "198.51.100.1", "198.51.100.1"],
    ["::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"],
    ["::1", "2001:db8::1", "2001:db8::1"],
    ["10.0.0.1", "6.6.6.6, 198.51.100.1, 10.2.2.2, 192.0.2.7", "198.51.100.1"],
    ["10.0.0.1", "10.1.1.1", "10.1.1.1"],
    ["10.0.0.1", "nonsense", "10.0.0.1"],
    ["10.0.0.1", "198.51.100.1, <script>", "10.0.0.1"],
    ["10.0.0.1", `${"6.6.6.6,".repeat(10_000)}198.51.100.1`, "198.51.100.1"],
    ["10.0.0.1", "10.9.9.9,".repeat(10_000), "10.0.0.1"],
  ];
  for (const [peer, forwarded, address] of rows) {
    it(`takes ${address} for ${peer} with ${forwarded?.slice(0, 60)}`, () => {
      const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
      assert.equal(PROXIES.originOf(requestFrom(peer, headers)).address, address);
    });
  }

  it("believes the scheme of a trusted proxy only", () => {
    const headers = { "x-forwarded-proto": "https", host: "registry.example" };
    const trusted = requestFrom("10.0.0.1", headers);
    assert.equal(ownUrl(trusted, PROXIES.originOf(trusted)), "https://registry.example");
    const other = requestFrom("203.0.113.5", headers);
    assert.equal(ownUrl(other, PROXIES.originOf(other)), "http://registry.example");
  });
});

describe("ownUrl()", () => {
  it("takes hosts with and without ports, and nothing that is none", () => {
    const origin = { address: "unknown", isSecure: true };
    const of = (host: string) => ownUrl(requestFrom("::1", { host }), origin);
    for (const host of ["a", "a.example:5000", "[::1]:5000", "127.0.0.1"]) {
      assert.equal(of(host), `https://${host}`);
    }
    for (const host of ["", 'a"', "a/b", "a b", "[x]", "a:b", 'a",realm="b']) {
      assert.throws(() => of(host), { status: 400 });
    }
  });
});

describe("clientKey()", () => {
  const rows: [address: string, key: string][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["unknown", "unknown"],
  ];
  for (const [address, key] of rows) {
    it(`is ${key} for ${address}`, () => {
      assert.equal(clientKey({ address, isSecure: false }), key);
    });
  }
});
