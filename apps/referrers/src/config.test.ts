import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { ask, freshFolder } from "./testing/http.ts";
import { runProgram, startProgram } from "./testing/program.ts";

describe("soci-referrers", () => {
  it("--help shows an example, --version a version", async () => {
    const help = await runProgram(["--help"]);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /Example:\n {2}\$ npx soci-referrers --root /);
    const version = await runProgram(["--version"]);
    assert.equal(version.code, 0);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  });

  const refused: [name: string, args: string[], message: RegExp][] = [
    ["an empty root", ["--root", ""], /--root is "", want an absolute path/],
    ["an address without a port", ["--root", "x", "--listen", "127.0.0.1"], /host:port/],
    ["a port that is none", ["--root", "x", "--listen", "127.0.0.1:70000"], /host:port/],
    ["brackets around a name", ["--root", "x", "--listen", "[localhost]:80"], /host:port/],
    ["an IPv6 address without brackets", ["--root", "x", "--listen", "::1:80"], /host:port/],
    [
      "every address",
      ["--root", "x", "--listen", "0.0.0.0:0"],
      /no authentication yet.*--insecure-listen-any/,
    ],
    ["every IPv6 address", ["--root", "x", "--listen", "[::]:0"], /no authentication yet/],
    [
      "a name that is not loopback",
      ["--root", "x", "--listen", "127.0.0.1.example.com:0"],
      /no authentication yet/,
    ],
    ["an unknown level", ["--root", "x", "--log-level", "loud"], /Allowed choices/],
    ["a stray argument", ["--root", "x", "y"], /too many arguments/],
  ];
  for (const [name, args, message] of refused) {
    it(`refuses ${name}`, async () => {
      const { code, stdout, stderr } = await runProgram(args);
      assert.equal(code, 2);
      assert.equal(stdout, "");
      assert.match(stderr, message);
    });
  }

  it("listens elsewhere when told so explicitly", async () => {
    await using folder = await freshFolder();
    await using program = await startProgram(folder.path, [
      "--listen",
      "0.0.0.0:0",
      "--insecure-listen-any",
    ]);
    const port = new URL(program.url).port;
    assert.equal((await ask(`http://127.0.0.1:${port}`, "GET", "/v2/")).status, 200);
  });

  it("ends with 0 at SIGTERM and SIGINT", async () => {
    await using folder = await freshFolder();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      await using program = await startProgram(folder.path);
      assert.equal((await ask(program.url, "GET", "/v2/")).status, 200);
      assert.equal(await program.end(signal), 0);
    }
  });

  it("says so when the port is taken, and leaves the registry closed", async () => {
    await using folder = await freshFolder();
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const { code, stderr } = await runProgram([
      "--root",
      folder.path,
      "--listen",
      `127.0.0.1:${port}`,
    ]);
    server.close();
    assert.equal(code, 1);
    assert.match(stderr, /soci-referrers: .*EADDRINUSE/);
  });
});
