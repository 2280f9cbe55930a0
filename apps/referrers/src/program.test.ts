import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Command } from "commander";
import { readConfig } from "./config.ts";
import { buildProgram } from "./program.ts";
import { freshFolder } from "./testing/http.ts";
import { runProgram } from "./testing/program.ts";

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

describe("buildProgram()", () => {
  it("gives every command a description and an example", () => {
    for (const command of allCommands(buildProgram("1.2.3", async () => {}))) {
      let text = "";
      command.configureOutput({ writeOut: (piece) => (text += piece) });
      command.outputHelp();
      assert.ok(command.description() !== "", command.name());
      assert.match(text, /Example:\n {2}\$ (?:npx )?soci-referrers /, command.name());
    }
  });
});

describe("readConfig()", () => {
  const read = (text: string, flags = {}) => readConfig(flags, { readFile: () => text });

  it("takes flags over the file over the defaults", () => {
    const text = 'root = "/file"\nlog_level = "warn"';
    const { config } = read(text, { root: "/flag", listen: "[::1]:80" });
    const { root, host, port, logLevel } = config!;
    assert.deepEqual([root, host, port, logLevel], ["/flag", "::1", 80, "warn"]);
  });

  it("refuses addresses that are none", () => {
    for (const listen of ["127.0.0.1", "127.0.0.1:70000", "[localhost]:80", "::1:80", ""]) {
      assert.match(read("", { listen }).faults[0]!.message, /want host:port/, listen);
    }
  });
});

describe("soci-referrers config", () => {
  it("prints a default file that it accepts, shows what it would run with, and lists all faults", async () => {
    await using folder = await freshFolder();
    const file = join(folder.path, "config.toml");
    const { stdout } = await runProgram(["config", "default"]);
    writeFileSync(file, stdout);
    const checked = await runProgram(["config", "check", "--config", file]);
    assert.deepEqual([checked.code, checked.stdout], [0, `${file}: no faults\n`]);
    const shown = await runProgram(["--config", file, "--root", "/x", "--json", "config", "dump"]);
    assert.equal(JSON.parse(shown.stdout).root, "/x");
    writeFileSync(file, 'rot = "/x"\n\nlisten = 5');
    const faulty = await runProgram(["config", "check", "--config", file]);
    assert.equal(faulty.code, 1);
    assert.deepEqual(faulty.stdout.trim().split("\n"), [
      `${file}:1: rot is not known: did you mean root?`,
      `${file}:3: listen is 5, want host:port`,
    ]);
    const serving = await runProgram(["--config", file]);
    assert.equal(serving.code, 2);
    assert.match(serving.stderr, /^soci-referrers: Cannot use the configuration: .*:1: .*; .*:3: /);
  });
});
