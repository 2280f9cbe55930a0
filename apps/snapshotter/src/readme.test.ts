import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { settingsMarkdown } from "@soci-ts/settings";
import { CONFIG_TABLE } from "./config/table.ts";
import { exitCodesMarkdown } from "./exit-codes.ts";
import { buildProgram } from "./program.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

function part(name: string): string | undefined {
  return new RegExp(`<!-- ${name}: [^\\n]*-->\\n(.*?)\\n?<!-- /${name} -->`, "s").exec(README)?.[1];
}

describe("README", () => {
  it("has the configuration's keys as the table has them", () => {
    assert.equal(part("keys"), settingsMarkdown(CONFIG_TABLE));
  });

  it("has the exit codes as the table has them", () => {
    assert.equal(part("codes"), exitCodesMarkdown());
  });

  it("names every command that is not hidden", () => {
    const program = buildProgram("1.2.3", async () => {});
    const visible = program.createHelp().visibleCommands(program);
    for (const command of visible.flatMap((each) =>
      each.commands.length > 0 ? each.commands : each,
    )) {
      const name =
        command.parent === program ? command.name() : `${command.parent?.name()} ${command.name()}`;
      assert.match(README, new RegExp(`^\\| \`${name}`, "m"));
    }
  });
});
