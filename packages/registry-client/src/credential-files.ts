import { readFile, stat } from "node:fs/promises";
import { AppError, type IoOptions } from "@soci-ts/core";
import { askHelper } from "./credential-helper.ts";
import { helperServer, hostNames } from "./credential-names.ts";
import type { Credential, CredentialSource } from "./credentials.ts";
import { CREDENTIALS_FILE_LIMIT_BYTES } from "./limits.ts";

/** Which files to read, and how to run helpers. */
export interface CredentialFilesOptions {
  /** Docker's `config.json`, Podman's `auth.json`; the first that knows a registry decides. Missing ones are skipped. */
  readonly files: readonly string[];
  /** How long a helper may take, in milliseconds (default 10 000). */
  readonly helperTimeoutMs?: number | undefined;
  /** Environment of helpers; default: this process's. */
  readonly helperEnvironment?: NodeJS.ProcessEnv | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Credentials from Docker's and Podman's files and the helpers they name. Files are read at each question.
 * In each file, as Docker does: `credHelpers`, then `credsStore`, then `auths`, whose keys may be narrowed to a path.
 */
export function loadCredentials(options: CredentialFilesOptions): CredentialSource {
  return {
    async find(registry, repository, io) {
      for (const file of options.files) {
        const document = await readCredentialsFile(file, io);
        const found =
          document &&
          (await findInFile({ file, document }, { registry, repository }, { ...options, ...io }));
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}

async function findInFile(
  source: { readonly file: string; readonly document: Json },
  wanted: { readonly registry: string; readonly repository: string | undefined },
  options: CredentialFilesOptions & IoOptions,
): Promise<Credential | undefined> {
  const { file, document } = source;
  const names = hostNames(wanted.registry);
  const helpers = objectAt(document, "credHelpers");
  const own = helpers && names.map((name) => helpers[name]).find((name) => name !== undefined);
  const helper = own ?? document["credsStore"];
  if (typeof helper === "string" && helper !== "") {
    const found = await askHelper(helper, helperServer(wanted.registry), {
      file,
      timeoutMs: options.helperTimeoutMs,
      environment: options.helperEnvironment,
      signal: options.signal,
    });
    if (found !== undefined) return found;
  }
  const auths = objectAt(document, "auths");
  return auths && findInAuths(auths, names, wanted.repository, file);
}

/** The entry with the longest key that is the repository, a parent of it, or its registry. */
function findInAuths(
  auths: Json,
  names: readonly string[],
  repository: string | undefined,
  file: string,
): Credential | undefined {
  const byPath = new Map<string, Json>();
  for (const key of Object.keys(auths)) {
    const entry = objectAt(auths, key);
    if (entry !== undefined) byPath.set(normalKey(key), entry);
  }
  const components = repository?.split("/") ?? [];
  for (let depth = components.length; depth >= 0; depth--) {
    for (const name of names) {
      const entry = byPath.get([name, ...components.slice(0, depth)].join("/"));
      const credential = entry && credentialOf(entry, file);
      if (credential !== undefined) return credential;
    }
  }
  return undefined;
}

/** `https://index.docker.io/v1/` names a host; `quay.io/team/app` a repository on one. */
function normalKey(key: string): string {
  const withoutScheme = key.replace(/^https?:\/\//, "").replace(/\/+$/, "");
  return withoutScheme.length + 1 < key.length || /\/v[12]$/.test(withoutScheme)
    ? withoutScheme.replace(/\/.*$/s, "")
    : withoutScheme;
}

function credentialOf(entry: Json, file: string): Credential | undefined {
  const identity = textAt(entry, "identitytoken");
  if (identity !== undefined) return { kind: "identity", refreshToken: identity };
  const token = textAt(entry, "registrytoken");
  if (token !== undefined) return { kind: "bearer", token };
  const packed = textAt(entry, "auth");
  if (packed === undefined) {
    const username = textAt(entry, "username");
    const password = textAt(entry, "password");
    return username === undefined || password === undefined
      ? undefined
      : { kind: "basic", username, password };
  }
  // Docker pads with NULs in some versions.
  const text = Buffer.from(packed, "base64").toString("utf8").replace(/\0+$/, "");
  const colon = text.indexOf(":");
  if (colon <= 0) {
    throw unreadable(file, 'an "auth" is not base64 of user:password, want it so');
  }
  return { kind: "basic", username: text.slice(0, colon), password: text.slice(colon + 1) };
}

async function readCredentialsFile(file: string, io?: IoOptions): Promise<Json | undefined> {
  io?.signal?.throwIfAborted();
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > CREDENTIALS_FILE_LIMIT_BYTES) {
      throw unreadable(file, `it has ${size} bytes, want at most ${CREDENTIALS_FILE_LIMIT_BYTES}`);
    }
    text = await readFile(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw AppError.from(error);
  }
  if (text.trim() === "") return undefined;
  const document = parseQuietly(text);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw unreadable(file, "it is not a JSON object, want one");
  }
  return document as Json;
}

/** V8's syntax error quotes the text, which holds secrets: it is not kept, not even as a cause. */
function parseQuietly(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreadable(file: string, problem: string): AppError {
  return new AppError("failed_precondition", `Cannot read credentials from ${file}: ${problem}`);
}

function objectAt(object: Json, key: string): Json | undefined {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return typeof value === "object" && value !== null ? (value as Json) : undefined;
}

function textAt(object: Json, key: string): string | undefined {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return typeof value === "string" && value !== "" ? value : undefined;
}
