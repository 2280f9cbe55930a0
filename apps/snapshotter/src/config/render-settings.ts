import { camelCase, type Settings, type SettingValue } from "./settings.ts";
import { type KeySpec, SECTIONS, type SectionName, type SectionSpec } from "./table.ts";
import { wanted } from "./values.ts";

const LINE_WIDTH = 98;

/** The file with every key at its default, each with what it means: what `config default` prints. It parses to the defaults. */
export function defaultFile(): string {
  const parts = SECTIONS.map(([name, section]) => defaultSection(name, section));
  return `# Configuration of soci-snapshotter: all keys, at their defaults. \`soci-snapshotter config check\` checks it.\n\n${parts.join("\n")}`;
}

/** The settings as a file, without comments: what `config dump` prints. Words that can be secrets are hidden. */
export function settingsFile(settings: Settings): string {
  const parts = SECTIONS.map(([name, section]) =>
    (section.repeated === true ? settings.trust : [valuesOf(settings, name)])
      .map((values) => dumpSection(name, section, values))
      .join("\n"),
  ).filter((part) => part !== "");
  return parts.join("\n");
}

/** The settings for `config dump --json`, in the file's spelling; words that can be secrets are hidden. */
export function settingsDocument(settings: Settings): Readonly<Record<string, unknown>> {
  const document: Record<string, unknown> = {};
  for (const [name, section] of SECTIONS) {
    if (name === "") Object.assign(document, spelled(section, valuesOf(settings, name)));
    else if (section.repeated === true) {
      document[name] = settings.trust.map((rule) => spelled(section, rule));
    } else document[name] = spelled(section, valuesOf(settings, name));
  }
  return document;
}

/** Markdown tables of all keys, for the README. */
export function settingsMarkdown(): string {
  return SECTIONS.map(([name, section]) => {
    const rows = Object.entries(section.keys).map(
      ([key, spec]) =>
        `| \`${key}\` | \`${toml(spec.default)}\` | ${markdown(valuesText(spec))} | ${markdown(spec.doc)} |`,
    );
    const title = name === "" ? "Above the first table" : `\`${header(name, section)}\``;
    const head = ["| key | default | values | meaning |", "| --- | --- | --- | --- |"];
    return [`${title}: ${markdown(section.doc)}`, "", ...head, ...rows].join("\n");
  }).join("\n\n");
}

function defaultSection(name: SectionName, section: SectionSpec): string {
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

function dumpSection(name: SectionName, section: SectionSpec, values: Values): string {
  const head = name === "" ? [] : [header(name, section)];
  const lines = Object.entries(spelled(section, values)).map(
    ([key, value]) => `${key} = ${toml(value)}`,
  );
  return `${[...head, ...lines].join("\n")}\n`;
}

type Values = Readonly<Record<string, unknown>>;

function valuesOf(settings: Settings, name: SectionName): Values {
  if (name === "") return settings;
  return (settings as unknown as Record<string, Values>)[camelCase(name)] ?? {};
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
  return spec.choices === undefined ? wanted(spec) : spec.choices.join(", ");
}

function header(name: SectionName, section: SectionSpec): string {
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
