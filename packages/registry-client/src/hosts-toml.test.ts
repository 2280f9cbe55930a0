import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { parseGoDuration } from "./go-duration.ts";
import { parseHostsToml } from "./hosts-toml.ts";

const FILE = "/certs.d/r.example/hosts.toml";
const parse = (text: string): ReturnType<typeof parseHostsToml> => parseHostsToml(text, FILE, "id");

test("parseHostsToml() reads all that containerd's file may hold, in its order", () => {
  const { hosts, unknownKeys } = parse(`
    server = "https://upstream.example"
    capabilities = ["pull"]
    [host."https://mirror-b.example:5000"]
      capabilities = ["pull", "Resolve"]
      ca = "b.crt"
      client = [["b.cert", "/keys/b.key"], ["c.pem", ""]]
      skip_verify = true
      dial_timeout = "1.5s"
      [host."https://mirror-b.example:5000".header]
        X-Token = "s3cret"
        x-many = ["a", "b"]
    [host."http://mirror-a.example/cache/"]
      ca = ["/ca/1.crt", "2.crt"]
      client = ["both.pem"]
    [host."mirror-c.example/v2"]
    [host."https://odd.example/api"]
      override_path = true
      client = "one.pem"
  `);
  assert.deepEqual(unknownKeys, []);
  assert.deepEqual(
    hosts.map(({ url }) => url),
    [
      { origin: "https://mirror-b.example:5000", path: "/v2" },
      { origin: "http://mirror-a.example", path: "/cache/v2" },
      { origin: "https://mirror-c.example", path: "/v2" },
      { origin: "https://odd.example", path: "/api" },
      { origin: "https://upstream.example", path: "/v2" },
    ],
  );
  assert.deepEqual(
    hosts.map(({ capabilities }) => [...capabilities].join()),
    ["pull,resolve", "pull,resolve,push", "pull,resolve,push", "pull,resolve,push", "pull"],
  );
  assert.deepEqual(hosts[0]?.headers, { "x-token": "s3cret", "x-many": "a, b" });
  assert.deepEqual(hosts[0]?.connection, {
    id: "id.1",
    caFiles: ["/certs.d/r.example/b.crt"],
    clientPairs: [
      { certFile: "/certs.d/r.example/b.cert", keyFile: "/keys/b.key" },
      { certFile: "/certs.d/r.example/c.pem", keyFile: "/certs.d/r.example/c.pem" },
    ],
    skipVerify: true,
    connectTimeoutMs: 1500,
  });
  assert.deepEqual(hosts[1]?.connection?.caFiles, ["/ca/1.crt", "/certs.d/r.example/2.crt"]);
  const both = "/certs.d/r.example/both.pem";
  assert.deepEqual(hosts[1]?.connection?.clientPairs, [{ certFile: both, keyFile: both }]);
  assert.equal(hosts[2]?.connection, undefined);
});

test("parseHostsToml() leaves a server that is not named to the registry's own, which can do everything", () => {
  const { hosts, unknownKeys } = parse(`
    capabilities = ["pull"]
    skip_verify = true
    colour = "red"
    [host."m.example"]
      skip_verfy = true
  `);
  assert.equal(hosts[1]?.url, undefined);
  assert.deepEqual([...(hosts[1]?.capabilities ?? [])], ["pull", "resolve", "push"]);
  assert.equal(hosts[1]?.connection?.skipVerify, true);
  assert.deepEqual([...unknownKeys].sort(), ["colour", 'host."m.example".skip_verfy']);
});

test("parseHostsToml() names all faults at once, and no value that may be a secret", () => {
  const text = `
    server = 5
    [host."https://u:s3cret@m.example"]
      capabilities = ["fly"]
      ca = 1
      client = [["a", "b", "c"], 3]
      skip_verify = "s3cret"
      override_path = 1
      dial_timeout = "-3s"
      [host."https://u:s3cret@m.example".header]
        authorization = 7
        "bad name" = "s3cret"
        x-line = "s3cret\\nx: y"
    [host."ftp://x.example"]
    [host."https://q.example/?a=s3cret"]
  `;
  assert.throws(
    () => parse(text),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, "failed_precondition");
      assert.ok(error.message.startsWith(`Cannot use ${FILE}: `));
      for (const named of [
        /server is no/,
        /user name/,
        /\.ca is/,
        /\.client is/,
        /skip_verify is/,
        /override_path is/,
        /dial_timeout is/,
        /authorization" is/,
        /bad name" is no/,
        /x-line" has/,
        /scheme ftp:/,
        /has a query/,
      ]) {
        assert.match(error.message, named);
      }
      assert.match(error.message, /capabilities has "fly"/);
      assert.doesNotMatch(inspect(error, { showHidden: true }), /s3cret/);
      return true;
    },
  );
});

test("parseHostsToml() says where text is no TOML, without showing it", () => {
  assert.throws(
    () => parse('server = "x"\n[host."m".header]\nauthorization = "s3cret'),
    (error: Error) => {
      assert.match(error.message, /hosts\.toml: it is no TOML \(line 3, column \d+\)/);
      assert.doesNotMatch(inspect(error, { showHidden: true }), /s3cret/);
      return true;
    },
  );
});

const DURATIONS: readonly [text: string, ms: number | undefined][] = [
  ["0", 0],
  ["250ms", 250],
  ["1m30s", 90_000],
  ["1.5h", 5_400_000],
  ["2us", 0.002],
  ["3", undefined],
  ["", undefined],
  ["-1s", undefined],
  ["1s ", undefined],
  ["s", undefined],
];

for (const [text, ms] of DURATIONS) {
  test(`parseGoDuration() reads ${JSON.stringify(text)}`, () => {
    assert.equal(parseGoDuration(text), ms);
  });
}
