import { closeSync } from "node:fs";
import { AppError, isDigest } from "@soci-ts/core";
import type { RawAnswer } from "@soci-ts/registry-client";
import { bytesResponse, collected, emptyResponse, type RegistryResponse } from "../http.ts";
import { errorAnswer } from "../spec-error.ts";
import { warningHeader } from "../warnings.ts";
import { answerHeaders } from "./headers.ts";
import { REFUSAL_LIMIT_BYTES } from "./limits.ts";
import type { Visit } from "./visit.ts";

/** An answer that was read to its end, so that it can be given several times. */
export interface HeldAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
}

/** Passes an answer on as it comes, its URLs changed so that they lead to us. */
export function relayed(visit: Visit, answer: RawAnswer): RegistryResponse {
  const { status } = answer;
  const headers = { ...answerHeaders(answer), ...links(visit, answer) };
  if (visit.request.method === "HEAD" || status === 204 || status === 304) {
    answer.close();
    return { status, headers };
  }
  if (answer.headers["content-length"] === "0") {
    answer.close();
    return emptyResponse(status, headers);
  }
  return {
    status,
    headers,
    body: { kind: "stream", pieces: answer.body, cancel: answer.close },
  };
}

const CODES: ReadonlyMap<number, string> = new Map([
  [401, "UNAUTHORIZED"],
  [403, "DENIED"],
  [404, "NAME_UNKNOWN"],
  [429, "TOOMANYREQUESTS"],
]);

/** The refusal that an answer to a HEAD request is, for a client that may have sent GET: with a body of ours, as there is none. */
export function retold(visit: Visit, answer: RawAnswer): RegistryResponse {
  const { "Content-Length": _length, ...headers } = answerHeaders(answer);
  const code = CODES.get(answer.status) ?? "UNKNOWN";
  const message = `The upstream registry ${visit.upstream.name} says ${answer.status}`;
  return errorAnswer(
    answer.status,
    { code, message },
    { ...headers, "Content-Type": "application/json" },
  );
}

/**
 * The body of an answer.
 * @returns undefined if it has more than `limitBytes`.
 */
export async function readLimited(
  answer: RawAnswer,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  try {
    return await collected(answer.body, limitBytes);
  } finally {
    answer.close();
  }
}

/** An answer with its body; one that is too long is left out. */
export async function held(answer: RawAnswer): Promise<HeldAnswer> {
  const { "Content-Length": _length, ...headers } = answerHeaders(answer);
  const bytes = await readLimited(answer, REFUSAL_LIMIT_BYTES);
  return { status: answer.status, headers, bytes: bytes ?? new Uint8Array() };
}

/** {@link held} once more. */
export function again({ status, headers, bytes }: HeldAnswer): RegistryResponse {
  return bytesResponse(status, bytes, headers);
}

/** What a client is told when the upstream cannot be asked and nothing is known without it. */
export function unreachable({ upstream }: Visit): RegistryResponse {
  const message = `The upstream registry ${upstream.name} cannot be reached`;
  return errorAnswer(503, { code: "UNKNOWN", message }, { "Retry-After": "5" });
}

/** For `catch`: no answer becomes undefined, other failures stay. */
export function silenceAsUndefined(error: unknown): undefined {
  if (!(error instanceof AppError) || error.code !== "unavailable") throw error;
}

/** The same answer with a warning (distribution-spec v1.1.1 §Warnings). */
export function withWarning(response: RegistryResponse, text: string): RegistryResponse {
  return { ...response, headers: { ...response.headers, ...warningHeader([text]) } };
}

/** Gives an answer up that is not sent, so that no file stays open. */
export function discard({ body }: RegistryResponse): void {
  if (body?.kind === "stream") body.cancel();
  if (body?.kind !== "file") return;
  closeSync(body.descriptor);
  body.release?.();
}

/** True if the upstream is in trouble, or asks to be left alone: what is known without it may be given instead. */
export function isTrouble(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** `Location` of content and `Link` of a next page, as paths of ours; others are left out. */
function links({ ns, target }: Visit, answer: RawAnswer): Record<string, string> {
  const { location, link } = answer.headers;
  const found: Record<string, string> = {};
  const place = location === undefined ? undefined : pathOf(location, answer.url);
  if (place !== undefined && isDigest(place.pathname.split("/").at(-1) ?? "")) {
    found["Location"] = place.pathname;
  }
  const next = nextPage(link);
  const page = next === undefined ? undefined : pathOf(next, answer.url);
  if (page !== undefined && page.pathname === target.split("?", 1)[0]) {
    const query = [page.search.slice(1), ns === null ? "" : `ns=${encodeURIComponent(ns)}`];
    const text = query.filter((part) => part !== "").join("&");
    found["Link"] = `<${page.pathname}?${text}>; rel="next"`;
  }
  return found;
}

/** Where the next page of a list is, by its `Link` header (RFC 8288). */
export function nextPage(link: string | undefined): string | undefined {
  return /<([^<>]{1,4096})>\s*;\s*rel="?next"?/i.exec(link ?? "")?.[1];
}

function pathOf(text: string, from: URL): URL | undefined {
  return URL.canParse(text, from.href) ? new URL(text, from) : undefined;
}
