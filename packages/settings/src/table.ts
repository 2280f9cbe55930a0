import type { Digest } from "@soci-ts/core";

/** What a value may be. */
export type KeyKind =
  /** An absolute path. */
  | "path"
  /** An absolute path, or "" for none. */
  | "optional_path"
  /** host:port. */
  | "listen"
  /** host:port, or "" for none. */
  | "optional_listen"
  /** An http or https URL without credentials, query and fragment, or "" for none. */
  | "optional_url"
  /** A name of letters, digits, `-` and `_`. */
  | "name"
  | "choice"
  /** Some of its words. */
  | "choices"
  | "milliseconds"
  | "count"
  | "bytes"
  /** Absolute paths. */
  | "paths"
  /** A program by its absolute path, and its arguments; [] for none. */
  | "command"
  /** Repositories, with `*`. */
  | "patterns"
  /** A text without blanks, or "" for none. */
  | "optional_word"
  /** Words without blanks: what they mean is for the reader of the settings to check. */
  | "words"
  /** IP addresses and networks (`10.0.0.0/8`). */
  | "networks"
  | "digests";

/** One key of a configuration file. */
export interface KeySpec {
  readonly kind: KeyKind;
  readonly default: string | number | readonly string[];
  /** One sentence or two for the file, the README and the errors. */
  readonly doc: string;
  readonly choices?: readonly string[];
  /** Least and greatest value of a number. */
  readonly range?: readonly [number, number];
  /** The option of the command line that goes before the file. */
  readonly flag?: string;
  /** True if values can hold secrets: all but the first word is hidden wherever the configuration is shown. */
  readonly secret?: boolean;
}

/** A table of the file. */
export interface SectionSpec {
  readonly doc: string;
  readonly keys: Readonly<Record<string, KeySpec>>;
  /** True for `[[name]]`, of which there can be any number, in an order that counts. */
  readonly repeated?: boolean;
}

/** A configuration: its tables by name, in the order of the file. "" holds the keys above the first table. */
export type SettingsTable = Readonly<Record<string, SectionSpec>> & { readonly "": SectionSpec };

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

type ValueOf<K> = K extends { readonly choices: readonly (infer Choice)[] }
  ? K extends { readonly kind: "choices" }
    ? readonly Choice[]
    : Choice
  : K extends { readonly kind: "digests" }
    ? readonly Digest[]
    : K extends { readonly kind: "paths" | "command" | "patterns" | "words" | "networks" }
      ? readonly string[]
      : K extends { readonly kind: "milliseconds" | "count" | "bytes" }
        ? number
        : string;

type KeysOf<Section extends SectionSpec> = {
  readonly [Name in keyof Section["keys"] & string as Camel<Name>]: ValueOf<Section["keys"][Name]>;
};

/**
 * The settings that a table describes, checked and complete: `settings.mount.idleReleaseMs`. Names are in camel case; the head's keys
 * stand at the top, and a repeated table is an array.
 */
export type SettingsOf<Table extends SettingsTable> = KeysOf<Table[""]> & {
  readonly [Name in Exclude<keyof Table, ""> & string as Camel<Name>]: Table[Name] extends {
    readonly repeated: true;
  }
    ? readonly KeysOf<Table[Name]>[]
    : KeysOf<Table[Name]>;
};

/** A value as it stands in {@link SettingsOf}. */
export type SettingValue = KeySpec["default"];

/** The sections of a table in the order of the file. */
export function sectionsOf(table: SettingsTable): readonly (readonly [string, SectionSpec])[] {
  return Object.entries<SectionSpec>(table);
}

/** `idle_release_ms` as `idleReleaseMs`. */
export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
