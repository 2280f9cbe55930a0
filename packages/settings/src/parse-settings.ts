import { parse, TomlError } from "smol-toml";
import { nearestName } from "./suggest.ts";
import {
  camelCase,
  type SectionSpec,
  type SettingsOf,
  type SettingsTable,
  type SettingValue,
  sectionsOf,
} from "./table.ts";
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

/** Notes a fault at a key's path (`mount.door`); the message reads on from the path. */
export type ReportFault = (path: string, message: string) => void;

/** What {@link parseSettings} may be given besides the text. */
export interface ParseOptions<Table extends SettingsTable> {
  readonly overrides?: Overrides | undefined;
  /** Finds what no key alone can show. Runs also where there are faults: what is faulty has its default. */
  readonly check?: ((settings: SettingsOf<Table>, report: ReportFault) => void) | undefined;
}

/** All that is in a file, and all that is wrong with it. `settings` is `undefined` exactly if there are faults. */
export interface ParsedSettings<Settings> {
  readonly settings: Settings | undefined;
  readonly faults: readonly ConfigFault[];
}

type Values = Record<string, SettingValue>;
type TomlTable = Readonly<Record<string, unknown>>;

/**
 * Reads the text of a configuration file ("" gives the defaults); overrides go before it. Every fault is found, not only the first;
 * only a text that is no TOML ends the search at its first fault.
 */
export function parseSettings<Table extends SettingsTable>(
  table: Table,
  text: string,
  options: ParseOptions<Table> = {},
): ParsedSettings<SettingsOf<Table>> {
  const faults: ConfigFault[] = [];
  const document = parseToml(text, faults);
  if (document === undefined) return { settings: undefined, faults };
  const lines = tomlLines(text);
  const report: ReportFault = (path, message) =>
    faults.push({ path, line: lineOf(lines, path), message });
  const result = readDocument(table, document, report);
  applyOverrides(result, options.overrides ?? {}, table[""], faults);
  // The table's type and the loops over the table say the same; only here they meet.
  const settings = result as SettingsOf<Table>;
  options.check?.(settings, report);
  faults.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return { settings: faults.length === 0 ? deepFreeze(settings) : undefined, faults };
}

/** A fault as a line of text: `FILE:LINE: KEY is …`. */
export function faultText(fault: ConfigFault, file: string | undefined): string {
  if (fault.path.startsWith("--")) return `${fault.path} ${fault.message}`;
  const place = `${file ?? "configuration"}${fault.line === undefined ? "" : `:${fault.line}`}`;
  return fault.path === ""
    ? `${place}: ${fault.message}`
    : `${place}: ${fault.path} ${fault.message}`;
}

function readDocument(
  table: SettingsTable,
  document: TomlTable,
  report: ReportFault,
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const sections = sectionsOf(table).filter(([name]) => name !== "");
  const place = (name: string) => placeOf(table, name);
  for (const [name, section] of sections) {
    const reader = { section, report, place };
    result[camelCase(name)] = section.repeated
      ? readRepeated(name, document[name], reader)
      : readSection(`${name}.`, document[name], reader);
  }
  const names = sections.map(([name]) => name);
  const rest = Object.entries(document).filter(([name]) => !names.includes(name));
  const head = { section: table[""], report, place, alsoKnown: names };
  return Object.assign(result, readSection("", Object.fromEntries(rest), head));
}

function parseToml(text: string, faults: ConfigFault[]): TomlTable | undefined {
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

interface Reader {
  readonly section: SectionSpec;
  readonly report: ReportFault;
  /** Where a key of another section stands. */
  readonly place: (name: string) => string | undefined;
  /** Names that are no keys and known all the same. */
  readonly alsoKnown?: readonly string[];
}

function readSection(prefix: string, table: unknown, reader: Reader): Values {
  const { section, report } = reader;
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
      report(path, unknownKey(name, reader));
      continue;
    }
    const checked = checkValue(value, spec);
    if (checked.ok) values[camelCase(name)] = checked.value;
    else report(path, checked.fault);
  }
  return values;
}

function readRepeated(name: string, value: unknown, reader: Reader): Values[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    reader.report(name, `is a single value, want [[${name}]], once for each entry`);
    return [];
  }
  return value.map((entry, at) => readSection(`${name}.${at}.`, entry, reader));
}

function unknownKey(name: string, { section, place, alsoKnown = [] }: Reader): string {
  const known = [...Object.keys(section.keys), ...alsoKnown];
  const near = nearestName(name, known);
  if (near !== undefined) return `is not known: did you mean ${near}?`;
  const elsewhere = place(name);
  if (elsewhere === undefined) return `is not known, want one of ${known.join(", ")}`;
  return `is not known here: it stands ${elsewhere}`;
}

function placeOf(table: SettingsTable, key: string): string | undefined {
  const found = sectionsOf(table).find(([, section]) => Object.hasOwn(section.keys, key));
  if (found === undefined) return undefined;
  return found[0] === "" ? "above the first table" : `in [${found[0]}]`;
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

/** The line of a key, or else of the table around it. */
function lineOf(lines: ReadonlyMap<string, number>, path: string): number | undefined {
  const parts = path.split(".");
  for (let length = parts.length; length > 0; length -= 1) {
    const line = lines.get(parts.slice(0, length).join("."));
    if (line !== undefined) return line;
  }
  return undefined;
}

function isTable(value: unknown): value is TomlTable {
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
