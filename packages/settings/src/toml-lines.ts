const KEY_PART = /"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+/g;
const HEADER = /^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$/;
const ASSIGNMENT =
  /^\s*((?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=(.*)$/;

/**
 * Where keys and tables stand in a TOML text: path (`mount.door`, `trust.0.require`) → line, from 1. The parser proper says nothing of
 * places; this sees tables, assignments and values of several lines, which is all that a message needs. Keys inside inline tables are not found.
 */
export function tomlLines(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  const repeats = new Map<string, number>();
  let table: readonly string[] = [];
  let open: OpenValue = { quote: "", depth: 0 };
  for (const [at, line] of text.split("\n").entries()) {
    if (open.quote !== "" || open.depth > 0) {
      open = follow(line, open);
      continue;
    }
    const header = HEADER.exec(line);
    const assignment = header === null ? ASSIGNMENT.exec(line) : null;
    if (header !== null) {
      table = keyPath(header[2] ?? "");
      if (header[1] === "[[") table = [...table, String(nextIndex(repeats, table.join(".")))];
      note(lines, table, at + 1);
    } else if (assignment !== null) {
      note(lines, [...table, ...keyPath(assignment[1] ?? "")], at + 1);
      open = follow(assignment[2] ?? "", open);
    }
  }
  return lines;
}

interface OpenValue {
  /** The quotes that a text of several lines waits for; "" if there is none. */
  readonly quote: string;
  /** Brackets and braces that are open. */
  readonly depth: number;
}

function follow(text: string, open: OpenValue): OpenValue {
  let { quote, depth } = open;
  const token = /"""|'''|"(?:[^"\\]|\\.)*"|'[^']*'|#.*|[[\]{}]/g;
  for (const [found] of text.matchAll(token)) {
    if (quote !== "") {
      if (found === quote) quote = "";
    } else if (found === '"""' || found === "'''") quote = found;
    else if (found === "[" || found === "{") depth += 1;
    else if (found === "]" || found === "}") depth -= 1;
  }
  return { quote, depth: Math.max(depth, 0) };
}

function keyPath(text: string): string[] {
  return [...text.matchAll(KEY_PART)].map(([part]) => part.replace(/^(["'])(.*)\1$/s, "$2"));
}

function nextIndex(repeats: Map<string, number>, name: string): number {
  const index = repeats.get(name) ?? 0;
  repeats.set(name, index + 1);
  return index;
}

function note(lines: Map<string, number>, path: readonly string[], line: number): void {
  if (!lines.has(path.join("."))) lines.set(path.join("."), line);
}
