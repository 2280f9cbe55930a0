import { readFile } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import type { Finding } from "./finding.ts";

const CHECK = "credentials";

/** Which credential files there are and which registries they name. Secrets are neither kept nor shown. */
export async function checkCredentials(files: readonly string[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const file of files) {
    const finding = await checkFile(file);
    if (finding !== undefined) findings.push(finding);
  }
  if (findings.length > 0) return findings;
  const found = `no file of ${files.join(", ")} exists: only public images can be read`;
  return [{ check: CHECK, state: "ok", found }];
}

async function checkFile(file: string): Promise<Finding | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (code === "not_found") return undefined;
    return {
      check: CHECK,
      state: "warn",
      found: message,
      fix: `run \`chmod u+r ${file}\` as its owner`,
    };
  }
  const document = parseObject(text);
  if (document === undefined) {
    const fix = `mend or remove ${file}, then log in again`;
    return { check: CHECK, state: "fail", found: `${file} is not a JSON object`, fix };
  }
  return { check: CHECK, state: "ok", found: `${file}: ${describe(document)}` };
}

function describe(document: Readonly<Record<string, unknown>>): string {
  const named = Object.keys(asObject(document["auths"]) ?? {});
  const helpers = Object.entries(asObject(document["credHelpers"]) ?? {});
  const all = document["credsStore"];
  const parts = [
    named.length === 0 ? "names no registry" : `names ${named.join(", ")}`,
    ...helpers.map(([registry, helper]) => `${registry} by docker-credential-${String(helper)}`),
    ...(typeof all === "string" && all !== "" ? [`all by docker-credential-${all}`] : []),
  ];
  return parts.join("; ");
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    // The parser's message may quote what it read; the caller says what is wrong without it.
    return undefined;
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Readonly<Record<string, unknown>>) : undefined;
}
