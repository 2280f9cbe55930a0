import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Command } from "commander";
import { completion } from "./commands/completion.ts";
import { buildProgram } from "./program.ts";

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

function program(): Command {
  return buildProgram("1.2.3", async () => {});
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return text;
}

describe("buildProgram()", () => {
  it("gives every command a description and exactly one example", () => {
    for (const command of allCommands(program())) {
      const text = helpOf(command);
      assert.ok(command.description() !== "", command.name());
      assert.equal(text.match(/\$ soci /g)?.length, 1, `${command.name()}: ${text}`);
    }
  });

  it("shows the exit codes in its help, and hides the serving process", () => {
    const text = helpOf(program());
    assert.match(text, /130 +cancelled/);
    assert.doesNotMatch(text, /serve-mount/);
  });

  it("refuses sizes that can't be", async () => {
    for (const args of [
      ["create", "x", "--span-size", "1"],
      ["create", "x", "--span-size", "4MiB"],
      ["create", "x", "--min-layer-size", "-1"],
      ["mount", "x", "y", "--door", "window"],
    ]) {
      await assert.rejects(program().parseAsync(args, { from: "user" }), /invalid/, args.join(" "));
    }
  });
});

describe("completion()", () => {
  it("names every visible command in each shell's script", async () => {
    const tree = program();
    for (const shell of ["bash", "zsh", "fish"] as const) {
      const { text } = await completion(tree, shell);
      for (const word of [
        "create",
        "unmount",
        "ls",
        "cat",
        "min-layer-size",
        "plain-http",
        "erofs",
      ]) {
        assert.ok(text.includes(word), `${shell}: ${word}`);
      }
      assert.ok(!text.includes("serve-mount"));
    }
  });
});
