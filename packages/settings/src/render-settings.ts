import {
  camelCase,
  type KeySpec,
  type SectionSpec,
  type SettingsOf,
  type SettingsTable,
  type SettingValue,
  sectionsOf,
} from "./table.ts";
import { wanted } from "./values.ts";

const LINE_WIDTH = 98;

/** The file with every key at its default, each with what it means: what `PROGRAM config default` prints. It parses to the defaults. */
export function defaultFile(table: SettingsTable, program: string): string {
  const parts = sectionsOf(table).map(([name, section]) => defaultSection(name, section));
  return `# Configuration of ${program}: all keys, at their defaults. \`${program} config check\` checks it.\n\n${parts.join("\n")}`;
}

/** The settings as a file, without comments. Words that can be secrets are hidden. */
export function settingsFile<Table extends SettingsTable>(
  table: Table,
  settings: SettingsOf<Table>,
): string {
  return sectionsOf(table)
    .flatMap(([name, section]) =>
      entriesOf(settings, name).map((values) => fileSection(name, section, values)),
    )
    .join("\n");
}

/** The settings as a document, in the file's spelling; words that can be secrets are hidden. */
export function settingsDocument<Table extends SettingsTable>(
  table: Table,
  settings: SettingsOf<Table>,
): Readonly<Record<string, unknown>> {
  const document: Record<string, unknown> = {};
  for (const [name, section] of sectionsOf(table)) {
    const entries = entriesOf(settings, name).map((values) => spelled(section, values));
    if (name === "") Object.assign(document, entries[0]);
    else document[name] = section.repeated === true ? entries : entries[0];
  }
  return document;
}

/** Markdown tables of all keys, for a README. */
export function settingsMarkdown(table: SettingsTable): string {
  return sectionsOf(table)
    .map(([name, section]) => {
      const rows = Object.entries(section.keys).map(
        ([key, spec]) =>
          `| \`${key}\` | \`${toml(spec.default)}\` | ${markdown(valuesText(spec))} | ${markdown(spec.doc)} |`,
      );
      const title = name === "" ? "Above the first table" : `\`${header(name, section)}\``;
      const head = ["| key | default | values | meaning |", "| --- | --- | --- | --- |"];
      return [`${title}: ${markdown(section.doc)}`, "", ...head, ...rows].join("\n");
    })
    .join("\n\n");
}

function defaultSection(name: string, section: SectionSpec): string {
  const mark = section.repeated === true ? "# " : "";
  const lines = comment(section.doc);
  if (name !== "") lines.push(`${mark}${header(name, section)}`);
  for (const [key, spec] of Object.entries(section.keys)) {
    lines.push(
      "",
      ...comment(`${spec.doc} (${valuesText(spec)})`),
      `${mark}${key} = ${toml(spec.default)}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function fileSection(name: string, section: SectionSpec, values: Values): string {
  const head = name === "" ? [] : [header(name, section)];
  const lines = Object.entries(spelled(section, values)).map(
    ([key, value]) => `${key} = ${toml(value)}`,
  );
  return `${[...head, ...lines].join("\n")}\n`;
}

type Values = Readonly<Record<string, unknown>>;

/** The values of a section; of a repeated one, of each entry. */
function entriesOf(settings: Values, name: string): readonly Values[] {
  const values = name === "" ? settings : settings[camelCase(name)];
  return (Array.isArray(values) ? values : [values]) as readonly Values[];
}

function spelled(section: SectionSpec, values: Values): Record<string, SettingValue> {
  return Object.fromEntries(
    Object.entries(section.keys).map(([key, spec]) => [
      key,
      shown(values[camelCase(key)] as SettingValue, spec),
    ]),
  );
}

function shown(value: SettingValue, spec: KeySpec): SettingValue {
  if (spec.secret !== true || !Array.isArray(value)) return value;
  return value.map((word: string, at) => (at === 0 ? word : "(hidden)"));
}

function valuesText(spec: KeySpec): string {
  return spec.kind === "choice" && spec.choices ? spec.choices.join(", ") : wanted(spec);
}

function header(name: string, section: SectionSpec): string {
  return section.repeated === true ? `[[${name}]]` : `[${name}]`;
}

function markdown(text: string): string {
  return text.replace(/[|*_<]/g, "\\$&");
}

function comment(text: string): string[] {
  const lines: string[] = [];
  let line = "#";
  for (const word of text.split(" ")) {
    if (line.length + word.length + 1 > LINE_WIDTH) {
      lines.push(line);
      line = "#";
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** A value in TOML. JSON's escapes are TOML's, but for U+007F, which JSON leaves bare. */
function toml(value: SettingValue): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
  return `[${value.map((item) => toml(item)).join(", ")}]`;
}
