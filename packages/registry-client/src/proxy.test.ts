import assert from "node:assert/strict";
import { test } from "node:test";
import { isLoopbackHost, proxyFor } from "./proxy.ts";

const PROXY = {
  httpsProxy: "http://user:s3cret@proxy.example:3128",
  httpProxy: "plain.example:8080",
};

const EXCLUSIONS: readonly [rule: string, url: string, isDirect: boolean][] = [
  ["", "https://r.example/", false],
  ["*", "https://r.example/", true],
  ["r.example", "https://r.example/", true],
  ["R.Example", "https://r.example/", true],
  ["example", "https://r.example/", true],
  ["xample", "https://r.example/", false],
  [".r.example", "https://r.example/", false],
  [".r.example", "https://a.r.example/", true],
  ["*.r.example", "https://a.r.example/", true],
  ["*.r.example", "https://r.example/", false],
  ["other, r.example", "https://r.example/", true],
  ["other r.example", "https://r.example/", true],
  ["r.example:443", "https://r.example/", true],
  ["r.example:443", "https://r.example:8443/", false],
  ["r.example:80", "http://r.example/", true],
  ["10.0.0.0/8", "https://10.1.2.3/", true],
  ["10.0.0.0/8", "https://11.1.2.3/", false],
  ["10.0.0.0/33", "https://10.1.2.3/", false],
  ["10.1.2.3", "https://10.1.2.3/", true],
  ["10.1.2.3:5000", "https://10.1.2.3:5000/", true],
  ["2001:db8::/32", "https://[2001:db8::1]/", true],
  ["2001:db8::1", "https://[2001:db8:0:0::1]/", true],
  ["[2001:db8::1]:5000", "https://[2001:db8::1]:5000/", true],
  ["[2001:db8::1]:5000", "https://[2001:db8::1]/", false],
  ["2001:db8::/32", "https://10.1.2.3/", false],
];

for (const [rule, url, isDirect] of EXCLUSIONS) {
  test(`proxyFor() with NO_PROXY "${rule}" reaches ${url} ${isDirect ? "directly" : "by proxy"}`, () => {
    assert.equal(proxyFor(new URL(url), { ...PROXY, noProxy: rule }) === undefined, isDirect);
  });
}

test("proxyFor() chooses by the URL's scheme and completes host:port", () => {
  assert.equal(proxyFor(new URL("https://r.example/"), PROXY)?.host, "proxy.example:3128");
  assert.equal(proxyFor(new URL("http://r.example/"), PROXY)?.href, "http://plain.example:8080/");
  assert.equal(proxyFor(new URL("https://r.example/"), {}), undefined);
});

test("proxyFor() never takes a proxy for the loopback", () => {
  for (const host of ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]) {
    assert.equal(proxyFor(new URL(`http://${host}:5000/`), PROXY), undefined, host);
  }
  assert.equal(isLoopbackHost("127.0.0.1.example"), false);
  assert.equal(isLoopbackHost("localhost.example"), false);
});

test("proxyFor() refuses what is no http proxy, without repeating it", () => {
  for (const text of ["socks5://user:s3cret@p.example", "http://user:s3cret@:bad"]) {
    assert.throws(
      () => proxyFor(new URL("https://r.example/"), { httpsProxy: text }),
      (error: Error) => {
        assert.match(error.message, /HTTPS_PROXY/);
        assert.doesNotMatch(error.message, /s3cret/);
        return true;
      },
    );
  }
});
