import type { AppError, ErrorDetails } from "@soci-ts/core";
import { EXIT_CODES } from "./exit-codes.ts";

/** What a command has to say: one JSON document, and the same for people. */
export interface Report {
  readonly json: unknown;
  readonly text: string;
  /** An error code if the report is of a failure (`soci doctor`); else the process ends with 0. */
  readonly failed?: keyof typeof EXIT_CODES;
  /** What failed beside what is reported; told on stderr, but for `--json`, whose document says it. */
  readonly errors?: readonly AppError[];
}

/** An error as `--json` shows it. */
export interface ErrorDocument {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly details: ErrorDetails;
  };
}

/** The text that goes to stdout for a report. */
export function renderReport(report: Report, json: boolean): string {
  const text = json ? JSON.stringify(report.json, null, 2) : report.text;
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

/** The document that goes to stdout for an error with `--json`. */
export function errorDocument(error: AppError): ErrorDocument {
  return { error: { code: error.code, message: oneLine(error.message), details: error.details } };
}

/** The two lines that go to stderr for an error: what happened, and what to do. */
export function renderError(error: AppError): string {
  const { hint } = EXIT_CODES[error.code];
  return `soci: ${error.code}: ${oneLine(error.message)}\nhint: ${hint}\n`;
}

/** Messages may hold text from a registry: no line break or control character of it reaches the terminal. */
function oneLine(message: string): string {
  return message.replace(/\s+/g, " ").replace(/[\p{Cc}\p{Cf}]/gu, "?");
}

/** Columns, each as wide as its widest cell, two spaces apart. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Names and values, one pair on a line. */
export function renderFacts(facts: readonly (readonly [string, string])[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** A size for people, in powers of 1000: `12.3 MB`. */
export function formatBytes(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}
