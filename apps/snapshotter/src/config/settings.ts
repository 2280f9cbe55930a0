import type { Digest } from "@soci-ts/core";
import type { CONFIG_TABLE, KeySpec } from "./table.ts";

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

type ValueOf<K> = K extends { readonly choices: readonly (infer Choice)[] }
  ? Choice
  : K extends { readonly kind: "digests" }
    ? readonly Digest[]
    : K extends { readonly kind: "paths" | "command" | "patterns" }
      ? readonly string[]
      : K extends { readonly kind: "milliseconds" | "count" | "bytes" }
        ? number
        : string;

type KeysOf<Section extends { readonly keys: object }> = {
  readonly [Name in keyof Section["keys"] & string as Camel<Name>]: ValueOf<Section["keys"][Name]>;
};

type Table = typeof CONFIG_TABLE;

/** One `[[trust]]` entry. */
export type TrustRule = KeysOf<Table["trust"]>;

/**
 * The settings, checked and complete: `settings.mount.idleReleaseMs`. Made from the table of keys, in camel case; the head's keys
 * stand at the top.
 */
export type Settings = KeysOf<Table[""]> & {
  readonly [Name in Exclude<keyof Table, "" | "trust"> & string as Camel<Name>]: KeysOf<
    Table[Name]
  >;
} & { readonly trust: readonly TrustRule[] };

/** A value as it stands in {@link Settings}. */
export type SettingValue = KeySpec["default"];

/** `idle_release_ms` as `idleReleaseMs`. */
export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
