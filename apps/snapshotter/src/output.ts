import type { AppError, ErrorCode, ErrorDetails } from "@soci-ts/core";
import { EXIT_CODES } from "./exit-codes.ts";

/** Columns that a terminal surely has. */
export const LINE_WIDTH = 100;

/** What a command has to say: one JSON document, and the same for people. */
export interface Report {
  readonly json: unknown;
  readonly text: string;
  /** An error code if the report is of a failure (`config check`); else the process ends with 0. */
  readonly failed?: ErrorCode | undefined;
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
  return { error: { code: error.code, message: plainText(error.message), details: error.details } };
}

/** The two lines that go to stderr for an error: what happened, and what to do. */
export function renderError(error: AppError): string {
  const { hint } = EXIT_CODES[error.code];
  return `soci-snapshotter: ${error.code}: ${plainText(error.message)}\nhint: ${hint}\n`;
}

/** One line without control characters: messages and names may come from a registry, and nothing of it is to steer the terminal. */
export function plainText(message: string): string {
  return message.replace(/\s+/g, " ").replace(/[\p{Cc}\p{Cf}]/gu, "?");
}

/**
 * Columns, each as wide as its widest cell, two spaces apart, at most {@link LINE_WIDTH} together: the widest columns are cut in the
 * middle where it is too much.
 */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => head.map((_, column) => plainText(row[column] ?? "")));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const room = LINE_WIDTH - 2 * (head.length - 1);
  for (let total = sum(widths); total > room; total = sum(widths)) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return cells
    .map((row) =>
      row
        .map((cell, column) => shorten(cell, widths[column] ?? 0).padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Names and values, one pair on a line. */
export function renderFacts(facts: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...facts.map(([name]) => name.length));
  return facts
    .map(([name, value]) =>
      wrap(plainText(value), `${name.padEnd(width)}  `, " ".repeat(width + 2)),
    )
    .join("\n");
}

/** Text in lines of at most {@link LINE_WIDTH}; the first begins with `first`, the others with `rest`. Words are never cut. */
export function wrap(text: string, first: string, rest: string = first): string {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line].map((each) => each.trimEnd()).join("\n");
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

/** A length of time for people, in its two largest units: `3 h 12 min`. */
export function formatDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A digest with so many digits of it that people can tell it from others. */
export function shortDigest(digest: string): string {
  return digest.replace(/^(sha\d+:[0-9a-f]{12})[0-9a-f]+$/, "$1");
}

function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.ceil((width - 1) / 2);
  const tail = width - 1 - head;
  return `${text.slice(0, head)}…${tail > 0 ? text.slice(-tail) : ""}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
