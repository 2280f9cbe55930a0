import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { EXIT_CODES } from "./exit-codes.ts";
import {
  formatBytes,
  formatDuration,
  LINE_WIDTH,
  renderError,
  renderTable,
  wrap,
} from "./output.ts";

describe("renderTable()", () => {
  it("fits the line by cutting the widest column in the middle", () => {
    const text = renderTable(["A", "LONG"], [["x".repeat(30), `begin${"-".repeat(200)}end`]]);
    const [, row = ""] = text.split("\n");
    assert.equal(row.length, LINE_WIDTH);
    assert.match(row, /^x{30} {2}begin-+…-+end$/);
  });

  it("lets no control character of a name through", () => {
    assert.equal(renderTable(["A"], [["a\u001b[31mb"]]), "A\na?[31mb");
  });
});

describe("wrap()", () => {
  it("breaks between words, and never a word", () => {
    const lines = wrap(`${"word ".repeat(30)}${"y".repeat(120)}`, "- ", "  ").split("\n");
    assert.ok(lines.slice(0, -1).every((line) => line.length <= LINE_WIDTH));
    assert.equal(lines.at(-1), `  ${"y".repeat(120)}`);
    assert.match(lines[0]!, /^- word/);
  });
});

describe("renderError()", () => {
  it("is two lines, whatever the message holds", () => {
    const text = renderError(new AppError("unavailable", "Cannot\nreach\u0007"));
    assert.equal(
      text,
      `soci-snapshotter: unavailable: Cannot reach?\nhint: ${EXIT_CODES.unavailable.hint}\n`,
    );
  });

  it("has an exit code of its own for each error code", () => {
    const codes = Object.values(EXIT_CODES).map(({ exitCode }) => exitCode);
    assert.equal(new Set(codes).size, codes.length);
    assert.ok(!codes.includes(0));
  });
});

describe("formatDuration() and formatBytes()", () => {
  it("use the units that people read", () => {
    assert.deepEqual([59_999, 60_000, 3_600_000, 200_000_000].map(formatDuration), [
      "59 s",
      "1 min 0 s",
      "1 h 0 min",
      "2 d 7 h",
    ]);
    assert.deepEqual([999, 1000, 999_960, 1.5e12].map(formatBytes), [
      "999 B",
      "1.0 kB",
      "1.0 MB",
      "1.5 TB",
    ]);
  });
});
