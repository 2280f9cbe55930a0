import { AppError } from "@soci-ts/core";

/** Dearest bcrypt cost that is taken: 2^14 rounds are a second of processor time in JavaScript. */
const MAX_COST = 14;
const BCRYPT = /^\$2[aby]\$(\d{2})\$[./A-Za-z0-9]{53}$/;

/** User → bcrypt hash. */
export type PasswordHashes = ReadonlyMap<string, string>;

/**
 * The users of an htpasswd file, as `htpasswd -B` writes it: `name:hash` on each line; empty lines and those that begin with # are
 * comments. The last line of a user counts.
 * @throws AppError `invalid_argument` that lists every faulty line, by number and never by content.
 */
export function parseHtpasswd(text: string): PasswordHashes {
  const hashes = new Map<string, string>();
  const faults: string[] = [];
  for (const [at, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const colon = line.indexOf(":");
    const cost = BCRYPT.exec(line.slice(colon + 1))?.[1];
    if (colon < 1) faults.push(`line ${at + 1} is no name:hash`);
    else if (cost === undefined) faults.push(`line ${at + 1} has no bcrypt hash (htpasswd -B)`);
    else if (Number(cost) < 4 || Number(cost) > MAX_COST) {
      faults.push(`line ${at + 1} has cost ${Number(cost)}, want 4 to ${MAX_COST}`);
    } else hashes.set(line.slice(0, colon), line.slice(colon + 1));
  }
  if (faults.length === 0) return hashes;
  throw new AppError("invalid_argument", `Cannot read passwords: ${faults.join(", ")}`);
}
