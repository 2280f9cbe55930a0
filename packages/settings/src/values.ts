import { isIP, isIPv6 } from "node:net";
import { isAbsolute, normalize } from "node:path";
import { isDigest } from "@soci-ts/core";
import type { KeyKind, KeySpec, SettingValue } from "./table.ts";

/** A value that is what its key wants, or what is wrong with it: `is 5, want a text`. */
export type CheckedValue =
  | { readonly ok: true; readonly value: SettingValue }
  | { readonly ok: false; readonly fault: string };

const MAX_TEXT_LENGTH = 4096;
const MAX_LIST_LENGTH = 1000;

/** What a person is told that a key wants. */
export function wanted({ kind, choices, range }: KeySpec): string {
  if (choices !== undefined) {
    return `${kind === "choices" ? "a list of some" : "one"} of ${choices.join(", ")}`;
  }
  if (range === undefined) return WANTED[kind];
  return `${WANTED[kind]} from ${range[0]} to ${range[1]}`;
}

const WANTED: Readonly<Record<KeyKind, string>> = {
  path: "an absolute path",
  optional_path: 'an absolute path, or ""',
  listen: "host:port",
  optional_listen: 'host:port, or ""',
  optional_url: 'an http or https URL without credentials and query, or ""',
  name: "a name of letters, digits, - and _",
  choice: "one of its words",
  choices: "a list of some of its words",
  milliseconds: "a whole number of milliseconds",
  count: "a whole number",
  bytes: "a whole number of bytes",
  paths: "a list of absolute paths",
  command: "a program by its absolute path, and its arguments",
  patterns: "a list of repositories, at least one, without blanks",
  optional_word: 'a text without blanks, or ""',
  words: "a list of words without blanks",
  networks: "a list of IP addresses or networks, as 10.0.0.0/8",
  digests: "a list of digests as sha256:…",
};

/** Checks one value of the file, or of the command line. */
export function checkValue(value: unknown, spec: KeySpec): CheckedValue {
  const fits = fitsKind(value, spec);
  if (fits) return { ok: true, value: tidy(value as SettingValue, spec) };
  return { ok: false, fault: `is ${show(value, spec)}, want ${wanted(spec)}` };
}

function fitsKind(value: unknown, spec: KeySpec): boolean {
  switch (spec.kind) {
    case "path":
      return isPath(value);
    case "optional_path":
      return value === "" || isPath(value);
    case "listen":
      return isText(value) && parseListen(value) !== undefined;
    case "optional_listen":
      return value === "" || (isText(value) && parseListen(value) !== undefined);
    case "optional_url":
      return value === "" || (isText(value) && isUrl(value));
    case "name":
      return isText(value) && /^[A-Za-z0-9][A-Za-z0-9_-]{0,75}$/.test(value);
    case "choice":
      return isText(value) && spec.choices?.includes(value) === true;
    case "choices":
      return isList(value) && value.every((word) => isText(word) && spec.choices?.includes(word));
    case "milliseconds":
    case "count":
    case "bytes":
      return isInRange(value, spec.range);
    case "paths":
      return isList(value) && value.every(isPath);
    case "command":
      return isList(value) && value.every(isText) && (value.length === 0 || isPath(value[0]));
    case "patterns":
      return isList(value) && value.length > 0 && value.every(isWord);
    case "optional_word":
      return value === "" || isWord(value);
    case "words":
      return isList(value) && value.every(isWord);
    case "networks":
      return isList(value) && value.every(isNetwork);
    case "digests":
      return isList(value) && value.every((item) => isText(item) && isDigest(item));
  }
}

/** Host and port of a `listen` value; `undefined` if it is none. An IPv6 address stands in brackets. */
export function parseListen(
  text: string,
): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  const [, address, name] = match ?? [];
  const host = address ?? name;
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) return undefined;
  return address === undefined || isIPv6(address) ? { host, port } : undefined;
}

function tidy(value: SettingValue, spec: KeySpec): SettingValue {
  if (value === "" || (spec.kind !== "path" && spec.kind !== "optional_path")) return value;
  const path = normalize(String(value));
  return path.length > 1 ? path.replace(/\/$/, "") : path;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TEXT_LENGTH && !value.includes("\0");
}

function isPath(value: unknown): value is string {
  return isText(value) && isAbsolute(value);
}

function isWord(value: unknown): boolean {
  return isText(value) && value !== "" && !/\s/.test(value);
}

function isUrl(value: string): boolean {
  if (/\s/.test(value) || !URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return /^https?:$/.test(protocol) && `${username}${password}${search}${hash}` === "";
}

function isNetwork(value: unknown): boolean {
  if (!isText(value)) return false;
  const [address = "", bits, ...rest] = value.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
  );
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length <= MAX_LIST_LENGTH;
}

function isInRange(value: unknown, range: KeySpec["range"]): boolean {
  const [least, most] = range ?? [0, Number.MAX_SAFE_INTEGER];
  return Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
}

function show(value: unknown, spec: KeySpec): string {
  if (spec.secret === true) return "something else";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
