import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { buildProgram } from "./program.ts";

const PROGRAM = fileURLToPath(new URL("../bin/soci-snapshotter.js", import.meta.url));
/** Module by module, as it is before it is bundled. */
const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return text;
}

function runProgram(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

describe("buildProgram()", () => {
  it("gives every command a description and exactly one example", () => {
    for (const command of allCommands(buildProgram("1.2.3", async () => {}))) {
      const text = helpOf(command);
      assert.ok(command.description() !== "", command.name());
      assert.equal(text.match(/\$ soci-snapshotter /g)?.length, 1, `${command.name()}: ${text}`);
    }
  });

  it("shows the exit codes, and hides the daemon's own processes", () => {
    const text = helpOf(buildProgram("1.2.3", async () => {}));
    assert.match(text, /130 +cancelled/);
    assert.doesNotMatch(text, /keeper|serve-layers|image-worker|mount-helper/);
  });

  it("runs the daemon without a command, and refuses words that are none", async () => {
    let runs = 0;
    const program = () =>
      buildProgram("1.2.3", async () => {
        runs += 1;
      });
    await program().parseAsync(["--root", "/x", "--address", "/y"], { from: "user" });
    assert.equal(runs, 1);
    await assert.rejects(program().parseAsync(["stauts"], { from: "user" }), /stauts|too many/);
    await assert.rejects(program().parseAsync(["--log-level", "loud"], { from: "user" }), /loud/);
    assert.equal(runs, 1);
  });

  it("hands a hidden process what stands behind its name, options too", async () => {
    const program = buildProgram("1.2.3", async () => {});
    await program.parseAsync(["serve-layers", "--root", "/x", "--fd", "3", "word"], {
      from: "user",
    });
    const serve = program.commands.find((command) => command.name() === "serve-layers")!;
    assert.deepEqual(serve.args, ["--fd", "3", "word"]);
    assert.equal(program.opts()["root"], "/x");
  });
});

describe("soci-snapshotter", () => {
  it("loads neither gRPC nor SQLite for --help", () => {
    const script = `
      import { createRequire } from "node:module";
      process.argv = [process.argv[0], ${JSON.stringify(MAIN)}, "--help"];
      await import(${JSON.stringify(MAIN)});
      const loaded = Object.keys(createRequire(${JSON.stringify(MAIN)}).cache).join();
      process.stdout.write("commander: " + loaded.includes("commander") + ", heavy: " + /grpc|sqlite|pino|prom-client/.test(loaded));`;
    const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    assert.equal(status, 0);
    assert.match(stdout, /^Usage: soci-snapshotter.*commander: true, heavy: false$/s);
  });

  it("gives a usage error code 2 and two lines, or a document with --json", () => {
    const { status, stderr } = runProgram("--root", "", "config", "dump");
    assert.equal(status, 2);
    assert.match(
      stderr,
      /^soci-snapshotter: invalid_argument: .*--root is "", want an absolute path\nhint: .+\n$/,
    );
    const json = runProgram("config", "nonsense", "--json");
    assert.equal(json.status, 2);
    assert.equal(JSON.parse(json.stdout).error.code, "invalid_argument");
  });
});
