import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Command } from "commander";
import { buildProgram } from "./program.ts";

/** A row of the README's table of the reference's flags. */
interface Row {
  readonly command: string;
  readonly flags: readonly string[];
  readonly here: string;
}

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");
/** The flags of `create`, `push` and `convert` of the reference, v0.15, and its global ones. */
const FLAGS: Readonly<Record<string, string>> = {
  "(all)": "--address -a --namespace -n --timeout --debug --content-store --root",
  create:
    "--span-size --min-layer-size --platform -p --all-platforms --optimizations --force -f --prefetch-file --prefetch-files-json",
  push: "--user -u --plain-http --skip-verify -k --platform -p --all-platforms --existing-index --max-concurrent-uploads --quiet -q --hosts-dir --refresh --tlscacert --tlscert --tlskey --http-dump --http-trace --snapshotter",
  convert:
    "--span-size --min-layer-size --platform -p --all-platforms --optimizations --force -f --prefetch-file --prefetch-files-json --standalone --format",
};

function rows(): readonly Row[] {
  const [, table = ""] = README.split("| command | flag");
  const lines = (table.split("\n\n")[0] ?? "").split("\n").slice(2);
  return lines.map((line) => {
    const [, command = "", flags = "", here = ""] = line.split("|").map((cell) => cell.trim());
    return { command: command.replaceAll("`", ""), flags: flags.match(/--?[\w-]+/g) ?? [], here };
  });
}

function takenFlags(program: Command, name: string): readonly string[] {
  const command = program.commands.find((one) => one.name() === name);
  if (name !== "(all)" && command === undefined) return [];
  const options = [...program.options, ...(command?.options ?? [])];
  return options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined);
}

test("the README's table names each flag of the reference once", () => {
  for (const [command, flags] of Object.entries(FLAGS)) {
    const listed = rows().filter((row) => row.command === command);
    assert.deepEqual(listed.flatMap((row) => row.flags).sort(), flags.split(" ").sort(), command);
  }
});

test("the README's table says which flags of the reference there are here", () => {
  const program = buildProgram("1.2.3", async () => {});
  for (const { command, flags, here } of rows()) {
    assert.match(here, /^(same|differs|no)$/, `${command} ${flags.join(" ")}`);
    const taken = takenFlags(program, command);
    for (const flag of flags) {
      assert.equal(taken.includes(flag), here !== "no", `soci ${command} ${flag}: ${here}`);
    }
  }
});
