import { parse, TomlError } from "smol-toml";
import { camelCase, type Settings, type SettingValue } from "./settings.ts";
import { nearestName } from "./suggest.ts";
import { SECTIONS, type SectionSpec } from "./table.ts";
import { tomlLines } from "./toml-lines.ts";
import { checkValue } from "./values.ts";

/** One thing that is wrong with the configuration. */
export interface ConfigFault {
  /** The key's path (`mount.door`), an option (`--root`), or "" for the file as a whole. */
  readonly path: string;
  /** Its line in the file, from 1, where that is known. */
  readonly line?: number | undefined;
  /** What is wrong: reads on from the path. */
  readonly message: string;
}

/** Settings from the command line: key of the file's head → value. */
export type Overrides = Readonly<Record<string, string | undefined>>;

/** All that is in a file, and all that is wrong with it. `settings` is `undefined` exactly if there are faults. */
export interface ParsedSettings {
  readonly settings: Settings | undefined;
  readonly faults: readonly ConfigFault[];
}

type Table = Readonly<Record<string, unknown>>;
type Values = Record<string, SettingValue>;

/**
 * Reads the text of a configuration file ("" gives the defaults); overrides go before it. Every fault is found, not only the first;
 * only a text that is no TOML ends the search at its first fault.
 */
export function parseSettings(text: string, overrides: Overrides = {}): ParsedSettings {
  const faults: ConfigFault[] = [];
  const document = parseToml(text, faults);
  if (document === undefined) return { settings: undefined, faults };
  const lines = tomlLines(text);
  const report = (path: string, message: string) =>
    faults.push({ path, line: lineOf(lines, path), message });
  const result: Record<string, unknown> = {};
  for (const [name, section] of SECTIONS) {
    if (name === "") continue;
    result[camelCase(name)] = section.repeated
      ? readRepeated(name, document[name], section, report)
      : readSection(`${name}.`, document[name], section, report);
  }
  const head = SECTIONS.find(([name]) => name === "")?.[1];
  const tables = SECTIONS.map(([name]) => name).filter((name) => name !== "");
  if (head !== undefined) {
    const rest = Object.entries(document).filter(
      ([name]) => !tables.some((table) => table === name),
    );
    Object.assign(result, readSection("", Object.fromEntries(rest), head, report, tables));
    applyOverrides(result, overrides, head, faults);
  }
  checkTrust(result as unknown as Settings, report);
  faults.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return {
    settings: faults.length === 0 ? deepFreeze(result as unknown as Settings) : undefined,
    faults,
  };
}

/** A fault as a line of text: `FILE:LINE: KEY is …`. */
export function faultText(fault: ConfigFault, file: string | undefined): string {
  if (fault.path.startsWith("--")) return `${fault.path} ${fault.message}`;
  const place = `${file ?? "configuration"}${fault.line === undefined ? "" : `:${fault.line}`}`;
  return fault.path === ""
    ? `${place}: ${fault.message}`
    : `${place}: ${fault.path} ${fault.message}`;
}

type Report = (path: string, message: string) => void;

function parseToml(text: string, faults: ConfigFault[]): Table | undefined {
  try {
    return parse(text, { unsafeKeyBehaviour: "throw" });
  } catch (error) {
    const line = error instanceof TomlError ? error.line : undefined;
    const message = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    faults.push({
      path: "",
      line,
      message: `is no TOML: ${message.replace(/^Invalid TOML document: /, "")}`,
    });
    return undefined;
  }
}

function readSection(
  prefix: string,
  table: unknown,
  section: SectionSpec,
  report: Report,
  alsoKnown: readonly string[] = [],
): Values {
  const values: Values = {};
  for (const [name, spec] of Object.entries(section.keys)) values[camelCase(name)] = spec.default;
  if (table === undefined) return values;
  if (!isTable(table)) {
    report(prefix.slice(0, -1), `is ${JSON.stringify(table)}, want a table`);
    return values;
  }
  for (const [name, value] of Object.entries(table)) {
    const spec = Object.hasOwn(section.keys, name) ? section.keys[name] : undefined;
    const path = `${prefix}${name}`;
    if (spec === undefined) {
      report(path, unknownKey(name, [...Object.keys(section.keys), ...alsoKnown]));
      continue;
    }
    const checked = checkValue(value, spec);
    if (checked.ok) values[camelCase(name)] = checked.value;
    else report(path, checked.fault);
  }
  return values;
}

function readRepeated(
  name: string,
  value: unknown,
  section: SectionSpec,
  report: Report,
): Values[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    report(name, `is a single value, want [[${name}]], once for each entry`);
    return [];
  }
  return value.map((entry, at) => readSection(`${name}.${at}.`, entry, section, report));
}

function unknownKey(name: string, known: readonly string[]): string {
  const near = nearestName(name, known);
  if (near !== undefined) return `is not known: did you mean ${near}?`;
  const elsewhere = SECTIONS.find(([, section]) => Object.hasOwn(section.keys, name));
  if (elsewhere === undefined) return `is not known, want one of ${known.join(", ")}`;
  const place = elsewhere[0] === "" ? "above the first table" : `in [${elsewhere[0]}]`;
  return `is not known here: it stands ${place}`;
}

function applyOverrides(
  result: Record<string, unknown>,
  overrides: Overrides,
  head: SectionSpec,
  faults: ConfigFault[],
): void {
  for (const [name, value] of Object.entries(overrides)) {
    const spec = head.keys[name];
    if (value === undefined || spec === undefined) continue;
    const checked = checkValue(value, spec);
    if (checked.ok) result[camelCase(name)] = checked.value;
    else faults.push({ path: spec.flag ?? name, message: checked.fault });
  }
}

/** What one key alone can't show: a list that is asked for and empty, and one that nobody asks for. */
function checkTrust(settings: Settings, report: Report): void {
  for (const [at, { require, digests }] of settings.trust.entries()) {
    if (require === "listed" && digests.length === 0) {
      report(`trust.${at}.digests`, 'is empty, want a digest, since require = "listed"');
    }
    if (require !== "listed" && digests.length > 0) {
      report(
        `trust.${at}.digests`,
        `does nothing with require = "${require}", want require = "listed"`,
      );
    }
  }
}

/** The line of a key, or else of the table around it. */
function lineOf(lines: ReadonlyMap<string, number>, path: string): number | undefined {
  const parts = path.split(".");
  for (let length = parts.length; length > 0; length -= 1) {
    const line = lines.get(parts.slice(0, length).join("."));
    if (line !== undefined) return line;
  }
  return undefined;
}

function isTable(value: unknown): value is Table {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)
  );
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
