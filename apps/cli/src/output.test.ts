import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { EXIT_CODES, exitCodesText } from "./exit-codes.ts";
import { errorDocument, formatBytes, renderError, renderReport, renderTable } from "./output.ts";

describe("renderReport()", () => {
  it("gives one JSON document, or the text, ended by one line break", () => {
    const report = { json: { a: 1 }, text: "a" };
    assert.equal(renderReport(report, false), "a\n");
    assert.deepEqual(JSON.parse(renderReport(report, true)), { a: 1 });
    assert.equal(renderReport({ json: null, text: "" }, false), "");
  });
});

describe("renderError()", () => {
  it("gives one line with the code, and a hint", () => {
    const error = new AppError("not_found", "Cannot find\nit");
    const [first, second, rest] = renderError(error).split("\n");
    assert.equal(first, "soci: not_found: Cannot find it");
    assert.match(second ?? "", /^hint: /);
    assert.equal(rest, "");
  });

  it("lets no control character of a message reach the terminal", () => {
    const error = new AppError("internal", "a\u001b[2Jb\u202ec");
    assert.match(renderError(error), /a\?\[2Jb\?c/);
    assert.equal(errorDocument(error).error.message, "a?[2Jb?c");
  });
});

describe("EXIT_CODES", () => {
  it("gives each code a number of its own, a meaning and a hint", () => {
    const entries = Object.values(EXIT_CODES);
    assert.equal(new Set(entries.map(({ exitCode }) => exitCode)).size, entries.length);
    for (const { exitCode, meaning, hint } of entries) {
      assert.ok(exitCode > 0 && exitCode < 256 && meaning !== "" && hint !== "");
    }
    for (const code of Object.keys(EXIT_CODES)) assert.ok(exitCodesText().includes(code));
  });
});

describe("README.md", () => {
  it("has the same exit codes", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const text = readme.replace(/ +/g, " ");
    for (const [code, { exitCode, meaning }] of Object.entries(EXIT_CODES)) {
      assert.ok(text.includes(`| ${exitCode} | \`${code}\` | ${meaning} |`), code);
    }
  });
});

describe("formatBytes()", () => {
  it("rounds to the unit that fits", () => {
    const cases: readonly [number, string][] = [
      [0, "0 B"],
      [999, "999 B"],
      [1000, "1.0 kB"],
      [999_949, "999.9 kB"],
      [999_951, "1.0 MB"],
      [12_345_678, "12.3 MB"],
      [5e15, "5000.0 TB"],
    ];
    for (const [value, text] of cases) assert.equal(formatBytes(value), text);
  });
});

describe("renderTable()", () => {
  it("aligns columns and leaves no blanks at the end of a line", () => {
    assert.equal(renderTable(["A", "B"], [["long", "x"]]), "A     B\nlong  x");
    assert.equal(renderTable(["A", "B"], []), "A  B");
  });
});
