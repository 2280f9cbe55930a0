import { X509Certificate } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { AppError } from "@soci-ts/core";
import type { HostConnection } from "./hosts.ts";

/** The usual places of the system's CA bundle; the first that exists is used. Node 20 has its own roots and reads none of them. */
export const SYSTEM_CA_FILES: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** Whose certificates are trusted, and what is shown to servers that ask. */
export interface TrustOptions {
  /** Candidates for the system's bundle (default {@link SYSTEM_CA_FILES}). Where none exists, Node's own roots are used. */
  readonly systemCaFiles?: readonly string[] | undefined;
  /** One more bundle, in PEM. It must exist. */
  readonly caFile?: string | undefined;
  /** A folder like `/etc/docker/certs.d`: in `HOST[:PORT]/` any `*.crt` is a CA, `X.cert` with `X.key` a client certificate. */
  readonly certsDir?: string | undefined;
}

/** TLS settings of a host. */
export interface HostTrust {
  /** The same for hosts that share settings. */
  readonly name: string;
  readonly context: SecureContext;
}

/** TLS settings by host. Files are read once. */
export class Trust {
  readonly #options: TrustOptions;
  /** Of hosts with settings of their own, by {@link HostTrust.name}. */
  readonly #connections = new Map<string, Promise<HostTrust>>();
  #common: Promise<{ cas: readonly string[]; context: SecureContext }> | undefined;

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /**
   * What to use for `host` (with its port, if not the usual one).
   * @param connection - what is said about this host elsewhere; used beside its folder in `certsDir`.
   * @throws AppError `failed_precondition` that names the file which is missing or wrong.
   */
  async contextFor(host: string, connection?: HostConnection): Promise<HostTrust> {
    if (connection === undefined) return this.#load(host);
    const name = `${connection.id} ${host}`;
    const known = this.#connections.get(name) ?? this.#load(host, { name, connection });
    this.#connections.set(name, known);
    try {
      return await known;
    } catch (error) {
      // A failure is not remembered.
      this.#connections.delete(name);
      throw error;
    }
  }

  /** Drops what is kept for settings that are no longer used. */
  forget(connection: HostConnection): void {
    for (const name of this.#connections.keys()) {
      if (name.startsWith(`${connection.id} `)) this.#connections.delete(name);
    }
  }

  async #load(
    host: string,
    extra?: { readonly name: string; readonly connection: HostConnection },
  ): Promise<HostTrust> {
    this.#common ??= this.#loadCommon();
    const common = await this.#common;
    const own = await this.#readHostFolder(host);
    if (extra === undefined && own === undefined) return { name: "", context: common.context };
    const { caFiles = [], clientPairs = [] } = extra?.connection ?? {};
    const [ca, cert, key] = await Promise.all([
      Promise.all(caFiles.map(readPem)),
      Promise.all(clientPairs.map((pair) => readPem(pair.certFile))),
      Promise.all(clientPairs.map((pair) => readKey(pair.keyFile))),
    ]);
    const certs = [...(own?.cert ?? []), ...cert];
    const context = secureContext(
      {
        ca: [...common.cas, ...(own?.ca ?? []), ...ca],
        ...(certs.length > 0 && { cert: certs, key: [...(own?.key ?? []), ...key] }),
      },
      own?.folder ?? `hosts.toml for ${host}`,
    );
    return { name: extra?.name ?? host, context };
  }

  async #loadCommon(): Promise<{ cas: readonly string[]; context: SecureContext }> {
    const { systemCaFiles = SYSTEM_CA_FILES, caFile } = this.#options;
    const cas = await firstBundle(systemCaFiles);
    if (caFile !== undefined) cas.push(await readPem(caFile));
    return { cas, context: secureContext({ ca: cas }, caFile ?? "the system's bundle") };
  }

  async #readHostFolder(
    host: string,
  ): Promise<{ folder: string; ca: string[]; cert?: string[]; key?: string[] } | undefined> {
    const { certsDir } = this.#options;
    // The name comes from a URL and may be a redirect's: it must not lead out of the folder.
    if (certsDir === undefined || host.startsWith(".")) return undefined;
    const folder = join(certsDir, host);
    const names = (await listFolder(folder)).sort();
    const files = (suffix: string): string[] =>
      names.filter((name) => name.endsWith(suffix)).map((name) => join(folder, name));
    checkPairs(folder, names);
    const [ca, cert, key] = await Promise.all([
      Promise.all(files(".crt").map(readPem)),
      Promise.all(files(".cert").map(readPem)),
      Promise.all(files(".key").map(readKey)),
    ]);
    if (ca.length + cert.length === 0) return undefined;
    return { folder, ca, ...(cert.length > 0 && { cert, key }) };
  }
}

/** @throws AppError `failed_precondition` if one of the `*.cert` and `*.key` files in a folder has no partner. */
export function checkPairs(folder: string, names: readonly string[]): void {
  const pairs = [
    [".cert", ".key"],
    [".key", ".cert"],
  ] as const;
  for (const [suffix, partner] of pairs) {
    for (const name of names) {
      const other = name.slice(0, -suffix.length) + partner;
      if (!name.endsWith(suffix) || names.includes(other)) continue;
      throw new AppError(
        "failed_precondition",
        `Cannot use ${join(folder, name)}: ${other} is missing, want both`,
      );
    }
  }
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw AppError.from(error);
  }
}

async function firstBundle(files: readonly string[]): Promise<string[]> {
  for (const file of files) {
    try {
      return [await readFile(file, "utf8")];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw AppError.from(error);
    }
  }
  return [...rootCertificates];
}

async function readPem(file: string): Promise<string> {
  try {
    const text = await readFile(file, "utf8");
    // OpenSSL passes over CAs that it cannot read; the first one at least must be right.
    new X509Certificate(text);
    return text;
  } catch (error) {
    throw refused(`Cannot use ${file}`, "want a PEM file", error);
  }
}

/** What a key file holds is checked when it is put together with its certificate. */
async function readKey(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw refused(`Cannot use ${file}`, "want a PEM file", error);
  }
}

function secureContext(
  parts: { readonly ca: string[]; readonly cert?: string[]; readonly key?: string[] },
  where: string,
): SecureContext {
  try {
    return createSecureContext(parts);
  } catch (error) {
    throw refused(`Cannot use the certificates in ${where}`, "want PEM and matching keys", error);
  }
}

function refused(problem: string, wanted: string, cause: unknown): AppError {
  const reason = (cause as NodeJS.ErrnoException).code ?? "unknown reason";
  return new AppError("failed_precondition", `${problem}: ${reason}, ${wanted}`, { cause });
}
