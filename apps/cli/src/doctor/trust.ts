import { readdir, readFile } from "node:fs/promises";
import { SYSTEM_CA_FILES } from "@soci-ts/registry-client";
import type { Config } from "../config.ts";
import type { Finding } from "./finding.ts";

/** The CAs that registries' certificates are checked against. */
export async function checkCas(config: Config): Promise<Finding[]> {
  const findings: Finding[] = [await checkSystemCas(config.systemCaFiles ?? SYSTEM_CA_FILES)];
  if (config.caFile !== undefined) {
    const count = await countCertificates(config.caFile);
    const found = `${config.caFile}: ${count ?? 0} certificates`;
    findings.push(
      count === undefined || count === 0
        ? { check: "--ca-file", state: "fail", found, fix: "give a file with PEM certificates" }
        : { check: "--ca-file", state: "ok", found },
    );
  }
  const registries = await readdir(config.certsDirectory).catch(() => []);
  if (registries.length > 0) {
    const found = `${config.certsDirectory}: ${registries.join(", ")}`;
    findings.push({ check: "CAs by registry", state: "ok", found });
  }
  return findings;
}

async function checkSystemCas(files: readonly string[]): Promise<Finding> {
  const check = "CAs of the system";
  for (const file of files) {
    const count = await countCertificates(file);
    if (count !== undefined && count > 0) {
      return { check, state: "ok", found: `${file}: ${count} certificates` };
    }
  }
  return {
    check,
    state: "warn",
    found: `none of ${files.join(", ")} has a certificate; Node's own list is used`,
    fix: "install the package ca-certificates, or set SSL_CERT_FILE to a PEM bundle",
  };
}

/** `undefined` if the file can't be read. */
async function countCertificates(file: string): Promise<number | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  return text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----/g)?.length ?? 0;
}
