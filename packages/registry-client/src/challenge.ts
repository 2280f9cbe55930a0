import { MAX_PARSED_HEADER_LENGTH } from "./limits.ts";

/** One way in which a server wants to be told who asks (RFC 9110 §11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`, … */
  readonly scheme: string;
  /** Values by lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const SEPARATOR = /[\s,]+/y;
const PARAMETER = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",=][^\s",]*))/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/y;

/** The challenges of a WWW-Authenticate header, in its order. What cannot be understood ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > MAX_PARSED_HEADER_LENGTH) return challenges;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  let parameters: Map<string, string> | undefined;
  while (at < header.length) {
    if (take(SEPARATOR) !== null) continue;
    const parameter = parameters && take(PARAMETER);
    if (parameters && parameter) {
      const value = parameter[2]?.replace(/\\(.)/g, "$1") ?? parameter[3] ?? "";
      parameters.set((parameter[1] ?? "").toLowerCase(), value);
      continue;
    }
    const scheme = take(TOKEN);
    if (scheme === null) break;
    parameters = new Map();
    challenges.push({ scheme: scheme[0].toLowerCase(), parameters });
    take(/\s+/y);
    // `Negotiate abc==` has one opaque value instead of parameters.
    if (!isParameterAt(header, at)) take(TOKEN68);
  }
  return challenges;
}

function isParameterAt(header: string, at: number): boolean {
  PARAMETER.lastIndex = at;
  return PARAMETER.test(header);
}
