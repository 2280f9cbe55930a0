import { AppError } from "@soci-ts/core";
import { headerValue } from "./headers.ts";
import { isLoopbackHost } from "./proxy.ts";
import { shownUrl } from "./redact.ts";
import type { WireResponse } from "./transport.ts";

/** Where a URL came from. */
export interface TargetOrigin {
  readonly from: URL;
  /** Completes "Cannot …" in errors. */
  readonly action: string;
  /** True: it may lead from https to plain HTTP anywhere. */
  readonly mayLeaveTls: boolean;
}

/**
 * A URL that a registry gave, checked before anything is sent there.
 * @throws AppError `failed_precondition`; the URL's query, which may hold a signature, is not shown.
 */
export function checkTarget(text: string, origin: TargetOrigin): URL {
  const { from, action } = origin;
  const url = URL.canParse(text, from.href) ? new URL(text, from) : undefined;
  if (url === undefined) throw redirectError(action, "a URL that is none");
  url.hash = "";
  if (!/^https?:$/.test(url.protocol)) {
    throw redirectError(action, `a URL with the scheme ${url.protocol}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw redirectError(action, "a URL with a user name");
  }
  const isDowngrade = from.protocol === "https:" && url.protocol === "http:";
  if (isDowngrade && !origin.mayLeaveTls && !isLoopbackHost(url.hostname)) {
    throw redirectError(action, `a URL in plain HTTP (${shownUrl(url)})`);
  }
  return url;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Where an answer leads to, as it says; undefined if it is to be taken as it is. Only GET and HEAD are led elsewhere. */
export function redirectTarget(
  request: { readonly method: string; readonly expect?: readonly number[] },
  answer: WireResponse,
): string | undefined {
  if (!REDIRECTS.has(answer.status) || request.expect?.includes(answer.status)) return undefined;
  if (request.method !== "GET" && request.method !== "HEAD") return undefined;
  return headerValue(answer.headers, "location");
}

/** An error about where a registry leads to. */
export function redirectError(action: string, what: string): AppError {
  return new AppError(
    "failed_precondition",
    `Cannot ${action}: the registry gives ${what}, want an http or https URL that can be followed`,
  );
}
