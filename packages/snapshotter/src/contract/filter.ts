import { AppError } from "@soci-ts/core";
import { FilterScanner, type Token } from "./filter-scanner.ts";
import { REF_LABEL } from "./image-labels.ts";
import { compilePattern } from "./pattern.ts";
import type { SnapshotInfo } from "./types.ts";

/** What filters look at. */
export type Filterable = Pick<SnapshotInfo, "kind" | "name" | "parent" | "labels">;

/** Filters, read. */
export interface SnapshotFilter {
  matches(snapshot: Filterable): boolean;
  /** The `containerd.io/snapshot.ref` of all that matches, if the filters fix one: what containerd asks after every layer that was there already. */
  readonly chainId: string | undefined;
}

type Test = (snapshot: Filterable) => boolean;

/** One comma-separated part; `chainId` if it is `labels."containerd.io/snapshot.ref"==…`. */
interface Selector {
  readonly test: Test;
  readonly chainId?: string | undefined;
}

/** Filters come from clients; containerd's own have some hundred bytes. */
const MAX_FILTER_LENGTH = 16_384;
const MAX_FILTERS = 1024;

/**
 * Reads filters in containerd's language; a snapshot has to match one of them, or none if there are none.
 *
 * ```
 * filter   := [selector ("," selector)*]           all have to match; an empty one matches all
 * selector := field ("." field)* [operator value]  without operator: the field is there
 * field    := quoted | [A-Za-z0-9_]+               name, parent, kind, labels.KEY
 * operator := "==" | "!=" | "~="                   ~= takes a regular expression, which may also be quoted by / or |
 * value    := quoted | [^\s,]+
 * quoted   := '"' with the escapes of Go '"'
 * ```
 * @throws AppError `invalid_argument` naming the position.
 */
export function parseFilters(filters: readonly string[]): SnapshotFilter {
  if (filters.length > MAX_FILTERS) {
    const message = `Cannot use filters: there are ${filters.length}, want at most ${MAX_FILTERS}`;
    throw new AppError("invalid_argument", message);
  }
  const parsed = filters.map(parseFilter);
  const [only, ...others] = parsed;
  return {
    matches: (snapshot) =>
      only === undefined ||
      parsed.some((selectors) => selectors.every(({ test }) => test(snapshot))),
    chainId:
      others.length > 0 ? undefined : only?.find(({ chainId }) => chainId !== undefined)?.chainId,
  };
}

function parseFilter(text: string): readonly Selector[] {
  if (text === "") return [];
  if (text.length > MAX_FILTER_LENGTH) {
    const message = `Cannot use a filter: it has ${text.length} characters, want at most ${MAX_FILTER_LENGTH}`;
    throw new AppError("invalid_argument", message);
  }
  const scanner = new FilterScanner(text);
  const selectors = [parseSelector(scanner)];
  while (scanner.peek() === ",") {
    scanner.scan();
    selectors.push(parseSelector(scanner));
  }
  if (scanner.peek() !== "") throw scanner.fault(scanner.position, 'want "," or the end');
  return selectors;
}

function parseSelector(scanner: FilterScanner): Selector {
  const path = [fieldOf(scanner, scanner.scan())];
  while (scanner.peek() === ".") {
    scanner.scan();
    path.push(fieldOf(scanner, scanner.scan()));
  }
  const next = scanner.peek();
  if (next === "" || next === ",") {
    return { test: (snapshot) => valueAt(snapshot, path) !== undefined };
  }
  const operator = scanner.scan();
  const value = scanner.scan();
  switch (operator.kind === "operator" ? operator.text : "") {
    case "==":
      return equalitySelector(path, textOf(scanner, value));
    case "!=":
      return inequalitySelector(path, textOf(scanner, value));
    case "~=":
      return patternSelector(scanner, path, value);
    default:
      throw scanner.fault(operator.position, 'want one of the operators "==", "!=", "~="');
  }
}

function equalitySelector(path: readonly string[], wanted: string): Selector {
  const isRef = path[0] === "labels" && path.slice(1).join(".") === REF_LABEL;
  return {
    test: (snapshot) => valueAt(snapshot, path) === wanted,
    chainId: isRef ? wanted : undefined,
  };
}

function inequalitySelector(path: readonly string[], unwanted: string): Selector {
  return { test: (snapshot) => (valueAt(snapshot, path) ?? "") !== unwanted };
}

function patternSelector(scanner: FilterScanner, path: readonly string[], token: Token): Selector {
  const source = token.kind === "quoted" ? scanner.unquote(token) : textOf(scanner, token);
  const pattern = compilePattern(source);
  if (pattern.kind === "fault") throw scanner.fault(token.position, pattern.state);
  return { test: (snapshot) => pattern.matches(valueAt(snapshot, path) ?? "") };
}

function fieldOf(scanner: FilterScanner, token: Token): string {
  if (token.kind === "field") return token.text;
  if (token.kind === "quoted" && token.text.startsWith('"')) return scanner.unquote(token);
  throw scanner.fault(token.position, "want the name of a field");
}

function textOf(scanner: FilterScanner, token: Token): string {
  if (token.kind === "value" || token.kind === "field") return token.text;
  if (token.kind === "quoted" && token.text.startsWith('"')) return scanner.unquote(token);
  throw scanner.fault(token.position, "want a value");
}

/** `undefined` for a label that is not there and for fields that nobody knows. */
function valueAt(snapshot: Filterable, path: readonly string[]): string | undefined {
  const [field, ...rest] = path;
  if (field === "name" || field === "parent" || field === "kind") return snapshot[field];
  const key = rest.join(".");
  if (field !== "labels" || !Object.hasOwn(snapshot.labels, key)) return undefined;
  return snapshot.labels[key];
}
