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
    ["every address", ["--listen", "0.0.0.0:0"], /--listen is 0.*--insecure-listen-any/],
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
