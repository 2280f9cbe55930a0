import { dirname, isAbsolute, join } from "node:path";
import { AppError } from "@soci-ts/core";
import { parse, TomlError } from "smol-toml";
import { parseGoDuration } from "./go-duration.ts";
import {
  ALL_CAPABILITIES,
  type ClientPair,
  type HostCapability,
  type HostConfig,
  type HostUrl,
} from "./hosts.ts";

/** What a hosts.toml says. */
export interface HostsToml {
  /** In the order of the file; the server, which is always there, last. */
  readonly hosts: readonly HostConfig[];
  /** Keys that nobody reads, as `host."URL".key`. */
  readonly unknownKeys: readonly string[];
}

type Table = Readonly<Record<string, unknown>>;

const HOST_KEYS: ReadonlySet<string> = new Set([
  "capabilities",
  "ca",
  "client",
  "skip_verify",
  "override_path",
  "header",
  "dial_timeout",
]);
const TOP_KEYS: ReadonlySet<string> = new Set([...HOST_KEYS, "server", "host"]);

/**
 * The hosts in a hosts.toml as containerd reads it (docs/hosts.md). Paths in it are relative to its folder.
 * @param id - names this reading of the file; becomes part of {@link HostConfig.connection}'s id.
 * @throws AppError `failed_precondition` with the file's name and all that is wrong; values, which may be secrets, are not shown.
 */
export function parseHostsToml(text: string, file: string, id: string): HostsToml {
  const document = parseTable(text, file);
  const reader = new HostsReader(dirname(file), id);
  const hosts = reader.read(document);
  if (reader.faults.length > 0) {
    throw new AppError("failed_precondition", `Cannot use ${file}: ${reader.faults.join("; ")}`);
  }
  return { hosts, unknownKeys: reader.unknownKeys };
}

function parseTable(text: string, file: string): Table {
  try {
    return parse(text);
  } catch (error) {
    // The parser's message quotes the text, which may hold a header's secret: it is not kept, not even as a cause.
    const where = error instanceof TomlError ? ` (line ${error.line}, column ${error.column})` : "";
    throw quiet("failed_precondition", `Cannot use ${file}: it is no TOML${where}, want TOML 1.0`);
  }
}

/** An error without the cause at hand. */
function quiet(code: "failed_precondition", message: string): AppError {
  return new AppError(code, message);
}

/** Reads the tables and collects what is wrong with them. */
class HostsReader {
  readonly faults: string[] = [];
  readonly unknownKeys: string[] = [];
  readonly #folder: string;
  readonly #id: string;
  #count = 0;

  constructor(folder: string, id: string) {
    this.#folder = folder;
    this.#id = id;
  }

  read(document: Table): HostConfig[] {
    const hosts: HostConfig[] = [];
    const tables = document["host"];
    if (isTable(tables)) {
      for (const [url, table] of Object.entries(tables)) {
        const name = `host.${JSON.stringify(shownKey(url))}`;
        if (isTable(table)) hosts.push(this.#host(url, table, `${name}.`));
        else this.#fault(name, "is no table, want one");
      }
    } else if (tables !== undefined) this.#fault("host", 'is no table, want [host."URL"]');
    const server = document["server"] ?? "";
    if (typeof server !== "string") this.#fault("server", "is no text, want a URL");
    hosts.push(this.#host(typeof server === "string" ? server : "", document, ""));
    return hosts;
  }

  /** One host; the top of the file describes the server. */
  #host(text: string, table: Table, prefix: string): HostConfig {
    const known = prefix === "" ? TOP_KEYS : HOST_KEYS;
    for (const key of Object.keys(table)) {
      if (!known.has(key)) this.unknownKeys.push(`${prefix}${key}`);
    }
    const isDefault = text === "" && prefix === "";
    const overridePath = this.#boolean(table, "override_path", prefix) ?? false;
    const capabilities = this.#capabilities(table, prefix);
    return {
      url: isDefault ? undefined : this.#url(text, overridePath, prefix || "server"),
      // As containerd does: the server that nobody named can do everything.
      capabilities: isDefault ? ALL_CAPABILITIES : capabilities,
      headers: this.#headers(table, prefix),
      connection: this.#connection(table, prefix),
    };
  }

  #url(text: string, overridePath: boolean, name: string): HostUrl | undefined {
    const spelled = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
    const url = URL.canParse(spelled) ? new URL(spelled) : undefined;
    const problem = urlProblem(url);
    if (url === undefined || problem !== undefined) {
      this.#fault(name.replace(/\.$/, ""), `${problem}, want http(s)://host[:port][/path]`);
      return undefined;
    }
    const path = url.pathname.replace(/\/+/g, "/").replace(/\/$/, "");
    return { origin: url.origin, path: overridePath || path.endsWith("/v2") ? path : `${path}/v2` };
  }

  #capabilities(table: Table, prefix: string): ReadonlySet<HostCapability> {
    const list = table["capabilities"];
    if (list === undefined) return ALL_CAPABILITIES;
    const name = `${prefix}capabilities`;
    if (!isTextList(list)) {
      this.#fault(name, 'is no list of texts, want some of "pull", "resolve", "push"');
      return ALL_CAPABILITIES;
    }
    const found = new Set<HostCapability>();
    for (const text of list) {
      const capability = text.toLowerCase();
      if (isCapability(capability)) found.add(capability);
      else this.#fault(name, `has ${shown(text)}, want "pull", "resolve" or "push"`);
    }
    return list.length === 0 ? ALL_CAPABILITIES : found;
  }

  #connection(table: Table, prefix: string): HostConfig["connection"] {
    const caFiles = this.#caFiles(table, prefix);
    const clientPairs = this.#clientPairs(table, prefix);
    const skipVerify = this.#boolean(table, "skip_verify", prefix) ?? false;
    const connectTimeoutMs = this.#dialTimeout(table, prefix);
    const isPlain = caFiles.length + clientPairs.length === 0 && !skipVerify;
    if (isPlain && connectTimeoutMs === undefined) return undefined;
    this.#count += 1;
    const id = `${this.#id}.${this.#count}`;
    return { id, caFiles, clientPairs, skipVerify, connectTimeoutMs };
  }

  #caFiles(table: Table, prefix: string): readonly string[] {
    const value = table["ca"];
    if (value === undefined) return [];
    const list = typeof value === "string" ? [value] : value;
    if (isTextList(list)) return list.map((path) => this.#path(path));
    this.#fault(`${prefix}ca`, "is neither a text nor a list of texts, want files in PEM");
    return [];
  }

  /** One file, several files, or several pairs of files. */
  #clientPairs(table: Table, prefix: string): readonly ClientPair[] {
    const value = table["client"];
    if (value === undefined) return [];
    const entries: readonly unknown[] = Array.isArray(value) ? value : [value];
    const pairs: ClientPair[] = [];
    for (const entry of entries) {
      const files = typeof entry === "string" ? [entry] : entry;
      const [certFile, keyFile = certFile] = isTextList(files) && files.length <= 2 ? files : [];
      if (certFile === undefined || keyFile === undefined) {
        this.#fault(`${prefix}client`, "is neither a file, nor files, nor pairs of files");
        continue;
      }
      // An empty key file stands for the certificate's own, as containerd has it.
      const key = keyFile === "" ? certFile : keyFile;
      pairs.push({ certFile: this.#path(certFile), keyFile: this.#path(key) });
    }
    return pairs;
  }

  #headers(table: Table, prefix: string): Readonly<Record<string, string>> {
    const value = table["header"] ?? {};
    if (!isTable(value)) {
      this.#fault(`${prefix}header`, "is no table, want one of names and values");
      return {};
    }
    const headers: Record<string, string> = {};
    for (const [key, entry] of Object.entries(value)) {
      const list = typeof entry === "string" ? [entry] : entry;
      const name = `${prefix}header.${shown(key)}`;
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(key)) this.#fault(name, "is no header name");
      else if (!isTextList(list)) this.#fault(name, "is neither a text nor a list of texts");
      else if (list.some((text) => !/^[\t\x20-\x7e\x80-\xff]*$/.test(text))) {
        this.#fault(name, "has characters that no header may have");
      } else headers[key.toLowerCase()] = list.join(", ");
    }
    return headers;
  }

  #dialTimeout(table: Table, prefix: string): number | undefined {
    const value = table["dial_timeout"];
    if (value === undefined || value === "") return undefined;
    const milliseconds = typeof value === "string" ? parseGoDuration(value) : undefined;
    if (milliseconds !== undefined && milliseconds > 0) return Math.ceil(milliseconds);
    this.#fault(`${prefix}dial_timeout`, 'is no duration above zero, want for example "3s"');
    return undefined;
  }

  #boolean(table: Table, key: string, prefix: string): boolean | undefined {
    const value = table[key];
    if (value === undefined || typeof value === "boolean") return value;
    this.#fault(`${prefix}${key}`, "is neither true nor false");
    return undefined;
  }

  #path(path: string): string {
    return isAbsolute(path) ? path : join(this.#folder, path);
  }

  #fault(name: string, problem: string): void {
    this.faults.push(`${name} ${problem}`);
  }
}

function urlProblem(url: URL | undefined): string | undefined {
  if (url === undefined) return "is no URL";
  if (!/^https?:$/.test(url.protocol)) return `has the scheme ${url.protocol}`;
  if (url.username !== "" || url.password !== "") return "has a user name";
  return url.search === "" && url.hash === "" ? undefined : "has a query or a fragment";
}

/** A key that may be a URL with a password or a signature in it. */
function shownKey(text: string): string {
  return text
    .slice(0, 256)
    .replace(/[?#].*$/s, "")
    .replace(/\/\/[^/]*@/, "//");
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}

function isTable(value: unknown): value is Table {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)
  );
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === "string");
}

function isCapability(text: string): text is HostCapability {
  return text === "pull" || text === "resolve" || text === "push";
}
