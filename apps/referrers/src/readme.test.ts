import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { settingsMarkdown } from "@soci-ts/settings";
import { CONFIG_TABLE } from "./config/table.ts";
import { buildProgram } from "./program.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

describe("README", () => {
  it("has the configuration's keys as the table has them", () => {
    const keys = /<!-- keys: [^\n]*-->\n(.*?)\n?<!-- \/keys -->/s.exec(README)?.[1];
    assert.equal(keys, settingsMarkdown(CONFIG_TABLE));
  });

  it("names every command", () => {
    const program = buildProgram("1.2.3", async () => {});
    for (const command of program.commands.flatMap((each) =>
      each.commands.length > 0 ? each.commands : each,
    )) {
      const parent = command.parent === program ? "" : `${command.parent?.name()} `;
      assert.match(README, new RegExp(`^\\| \`${parent}${command.name()}`, "m"));
    }
  });
});
