import type { IncomingHttpHeaders } from "undici/types/header.js";
import { MAX_PARSED_HEADER_LENGTH } from "./limits.ts";

/** The headers of an answer, by lower-case name. */
export type ResponseHeaders = IncomingHttpHeaders;

/** The value of a header; several of one name are joined with commas (RFC 9110 §5.3). */
export function headerValue(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/** A header that holds a whole number from 0 to 2^53 − 1; undefined if it is absent or something else. */
export function numberHeader(headers: ResponseHeaders, name: string): number | undefined {
  const text = headerValue(headers, name);
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** A media type without its parameters, in lower case. */
export function mediaTypeHeader(headers: ResponseHeaders): string | undefined {
  const type = headerValue(headers, "content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  return type === "" ? undefined : type;
}

/** What a 206 says it holds (RFC 9110 §14.4). */
export interface ContentRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** Size of the whole, if told. */
  readonly size: number | undefined;
}

/** The Content-Range of an answer; undefined if it is absent or malformed. */
export function parseContentRange(text: string | undefined): ContentRange | undefined {
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(text ?? "");
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]) + 1;
  const size = match[3] === "*" ? undefined : Number(match[3]);
  return start < end && end <= (size ?? end) ? { start, end, size } : undefined;
}

/** The bytes that an upload holds, from its Range header `0-N`; undefined if it is malformed. */
export function parseUploadRange(text: string | undefined): number | undefined {
  if (text === undefined) return 0;
  const last = /^(?:bytes=)?0-(\d{1,16})$/.exec(text)?.[1];
  if (last === undefined) return undefined;
  // Distribution writes "0-0" for an upload that holds nothing; one of a single byte looks the same and is sent again.
  return last === "0" ? 0 : Number(last) + 1;
}

/** The target of the `rel="next"` entry of a Link header (RFC 8288), as it is written there. */
export function nextLink(text: string | undefined): string | undefined {
  if (text === undefined || text.length > MAX_PARSED_HEADER_LENGTH) return undefined;
  for (const [, target, parameters] of text.matchAll(/<([^>]*)>([^<]*)/g)) {
    if (/;\s*rel\s*=\s*"?(?:[^";,]*\s)?next(?:\s[^";,]*)?"?\s*(?:[;,]|$)/i.test(parameters ?? "")) {
      return target;
    }
  }
  return undefined;
}

/** How long a Retry-After header asks to wait, in milliseconds: seconds or a date (RFC 9110 §10.2.3). */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1000;
  const date = /^[A-Za-z].{5,60}$/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
